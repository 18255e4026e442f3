/**
 * Seeded randomness (xoshiro128**, Blackman and Vigna 2018), so that one printed seed replays a run.
 * `randomSeed` is the only door to the machine's entropy.
 */
import { randomBytes } from "node:crypto";

export interface Rng {
  /** Uniform 32-bit unsigned integer. */
  uint32(): number;
  /** Uniform in [0, 1), with 53 bits. */
  float(): number;
  /** Uniform integer in [0, bound), 1 ≤ bound ≤ 2^32. */
  below(bound: number): number;
  /** True with probability `p`. */
  chance(p: number): boolean;
  /** One element of a non-empty list. */
  pick<T>(items: readonly T[]): T;
  /** An independent stream, named so that adding one elsewhere does not shift this one. */
  fork(name: string): Rng;
}

/** 32-bit FNV-1a over UTF-16 units, followed by murmur3's finaliser. */
function hashText(text: string, basis: number): number {
  let h = (basis ^ 0x811c9dc5) >>> 0;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return mix32(h);
}

function mix32(n: number): number {
  let h = n | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

const rotl = (x: number, k: number): number => (x << k) | (x >>> (32 - k));

/** @param seed any integer; the low 32 bits and the bits above them both count. */
export function seededRng(seed: number): Rng {
  // splitmix-style expansion of the seed: xoshiro's state must not be all zero
  let x = (seed ^ Math.floor(seed / 2 ** 32)) | 0;
  const next = (): number => {
    x = (x + 0x9e3779b9) | 0;
    return mix32(x);
  };
  let s0 = next();
  let s1 = next();
  let s2 = next();
  let s3 = next() | 1;

  const uint32 = (): number => {
    const result = Math.imul(rotl(Math.imul(s1, 5), 7), 9) >>> 0;
    const t = s1 << 9;
    s2 ^= s0;
    s3 ^= s1;
    s1 ^= s2;
    s0 ^= s3;
    s2 ^= t;
    s3 = rotl(s3, 11);
    return result;
  };
  const float = (): number => (uint32() * 2 ** 21 + (uint32() >>> 11)) / 2 ** 53;
  const below = (bound: number): number => Math.floor(float() * bound);
  return {
    uint32,
    float,
    below,
    chance: (p) => float() < p,
    pick: <T>(items: readonly T[]): T => items[below(items.length)] as T,
    fork: (name) => seededRng(hashText(name, seed)),
  };
}

/** A seed from the machine's entropy: 48 bits, so that it prints short and stays a safe integer. */
export function randomSeed(): number {
  return randomBytes(6).readUIntBE(0, 6);
}
