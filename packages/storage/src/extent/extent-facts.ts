/**
 * What is known about an extent besides its bytes, because somebody said so: flags, connections and attributes to find it by. Part of the extent's
 * record: a turn changes it as it changes bytes, the log and checkpoints carry it. What is measured is elsewhere (extent-usage.ts).
 *
 * Encoded little endian; facts that say nothing are no bytes.
 *
 * | size | field |
 * |---|---|
 * | 1 | version, 1 |
 * | 1 | 1 hot, 2 prefetch, 4 huge pages are decided, 8 and wanted, 16 NUMA node, 32 row group, 64 partition, 128 time bucket |
 * | 8 each | those of NUMA node, row group and partition that there are, as u64 |
 * | 16 | begin and end of the time bucket, as f64, if there is one |
 * | 1 | count of connections |
 * | each 6 + n | kind: 0 next, 1 previous, 2 co-accessed; f32 weight; u8 length and name of the extent |
 *
 * F1 the bytes of facts are one and the same, and other bytes are refused: what decodes encodes to what it was.
 */
import { isUtf8 } from "node:buffer";
import { isPinionError, PinionError } from "@pinion/core";

export const LINK_KINDS = Object.freeze(["next", "previous", "co-accessed"] as const);
export type LinkKind = (typeof LINK_KINDS)[number];

/** Connections of one extent that are set. */
export const LINKS_MAX = 16;
const NUMA_NODE_MAX = 1_023;
const NAME_BYTES_MAX = 255;

export interface ExtentFlags {
  /** Comes in before the actor's others, one class above that of the profile. */
  readonly hot: boolean;
  /** Brings the extents in that it is connected with. */
  readonly prefetch: boolean;
  /** Whether its memory is in pages of 2 MiB where the system has some; undefined: from 2 MiB on. */
  readonly hugePages: boolean | undefined;
  /** The NUMA node its memory is wanted on, 0 … 1,023; undefined: the worker's own, which is local. */
  readonly numaNode: number | undefined;
}

/** From `fromMs` on, before `toMs`: ms since the epoch, or whatever the actor counts in. */
export interface TimeBucket {
  readonly fromMs: number;
  readonly toMs: number;
}

/** What an extent is found by. */
export interface ExtentAttributes {
  /** Whole, not negative. */
  readonly rowGroup: number | undefined;
  /** Whole, not negative. */
  readonly partition: number | undefined;
  readonly timeBucket: TimeBucket | undefined;
}

export interface ExtentLink {
  readonly kind: LinkKind;
  /** Another extent of the actor. */
  readonly to: string;
  /** Above 0, up to 1: how likely one is used with the other. Kept as f32. */
  readonly weight: number;
}

export interface ExtentFacts {
  readonly flags: ExtentFlags;
  readonly attributes: ExtentAttributes;
  /** In the order they were made, at most `LINKS_MAX`; one for each kind and extent. */
  readonly links: readonly ExtentLink[];
}

export const NO_FLAGS: ExtentFlags = Object.freeze({
  hot: false,
  prefetch: false,
  hugePages: undefined,
  numaNode: undefined,
});

export const NO_ATTRIBUTES: ExtentAttributes = Object.freeze({
  rowGroup: undefined,
  partition: undefined,
  timeBucket: undefined,
});

export const NO_FACTS: ExtentFacts = Object.freeze({
  flags: NO_FLAGS,
  attributes: NO_ATTRIBUTES,
  links: Object.freeze([]),
});

const Bit = {
  hot: 1,
  prefetch: 2,
  hugeDecided: 4,
  hugeWanted: 8,
  numaNode: 16,
  rowGroup: 32,
  partition: 64,
  timeBucket: 128,
} as const;
const VERSION = 1;
const NO_BYTES = new Uint8Array(0);

// ---------------------------------------------------------------- checking

const isCount = (value: unknown, max = Number.MAX_SAFE_INTEGER): boolean =>
  Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= max;

const isSwitch = (value: unknown): boolean => value === undefined || typeof value === "boolean";

/** What is wrong with flags; undefined: nothing. */
export function flagsProblem(flags: ExtentFlags): string | undefined {
  if (typeof flags.hot !== "boolean" || typeof flags.prefetch !== "boolean")
    return "hot and prefetch are true or false";
  if (!isSwitch(flags.hugePages)) return "hugePages is true, false or undefined";
  if (flags.numaNode !== undefined && !isCount(flags.numaNode, NUMA_NODE_MAX))
    return `numaNode is a whole number from 0 to ${NUMA_NODE_MAX}, not ${flags.numaNode}`;
  return undefined;
}

export function attributesProblem(attributes: ExtentAttributes): string | undefined {
  for (const name of ["rowGroup", "partition"] as const) {
    const value = attributes[name];
    if (value !== undefined && !isCount(value))
      return `${name} is a whole number from 0 on, not ${value}`;
  }
  const { timeBucket } = attributes;
  if (timeBucket === undefined) return undefined;
  const { fromMs, toMs } = timeBucket;
  if (Number.isFinite(fromMs) && Number.isFinite(toMs) && fromMs < toMs) return undefined;
  return `a time bucket ends behind its begin, not from ${fromMs} to ${toMs}`;
}

export function linkProblem({ kind, weight }: ExtentLink): string | undefined {
  if (!LINK_KINDS.includes(kind))
    return `a connection is one of ${LINK_KINDS.join(", ")}, not ${kind}`;
  if (typeof weight === "number" && weight <= 1 && Math.fround(weight) > 0) return undefined;
  return `the weight of a connection is above 0 and up to 1, not ${weight}`;
}

// ---------------------------------------------------------------- encoding

function says(facts: ExtentFacts): boolean {
  const { flags, attributes, links } = facts;
  if (links.length > 0 || flags.hot || flags.prefetch) return true;
  if (flags.hugePages !== undefined || flags.numaNode !== undefined) return true;
  return Object.values(attributes).some((value) => value !== undefined);
}

/** @param facts that have no problem */
export function encodeFacts(facts: ExtentFacts): Uint8Array {
  if (!says(facts)) return NO_BYTES;
  const { flags, attributes, links } = facts;
  const { rowGroup, partition, timeBucket } = attributes;
  const numbers = [flags.numaNode, rowGroup, partition].filter((n) => n !== undefined);
  const names = links.map(({ to }) => Buffer.from(to));
  const linkBytes = names.reduce((sum, name) => sum + 6 + name.length, 0);
  const out = Buffer.alloc(3 + 8 * numbers.length + (timeBucket ? 16 : 0) + linkBytes);
  out[0] = VERSION;
  out[1] =
    (flags.hot ? Bit.hot : 0) |
    (flags.prefetch ? Bit.prefetch : 0) |
    (flags.hugePages === undefined ? 0 : Bit.hugeDecided) |
    (flags.hugePages === true ? Bit.hugeWanted : 0) |
    (flags.numaNode === undefined ? 0 : Bit.numaNode) |
    (rowGroup === undefined ? 0 : Bit.rowGroup) |
    (partition === undefined ? 0 : Bit.partition) |
    (timeBucket === undefined ? 0 : Bit.timeBucket);
  let at = 2;
  for (const value of numbers) at = out.writeBigUInt64LE(BigInt(value), at);
  if (timeBucket !== undefined) {
    at = out.writeDoubleLE(timeBucket.fromMs, at);
    at = out.writeDoubleLE(timeBucket.toMs, at);
  }
  out[at++] = links.length;
  for (const [i, { kind, weight }] of links.entries()) {
    const name = names[i] as Buffer;
    out[at] = LINK_KINDS.indexOf(kind);
    out.writeFloatLE(weight, at + 1);
    out[at + 5] = name.length;
    out.set(name, at + 6);
    at += 6 + name.length;
  }
  return new Uint8Array(out.buffer, out.byteOffset, out.length);
}

const malformed = (what: string): PinionError =>
  new PinionError("corruption", `the facts of an extent are malformed: ${what}`);

/** @throws `format-too-new`, `corruption` for anything that `encodeFacts` does not write (F1) */
export function decodeFacts(bytes: Uint8Array): ExtentFacts {
  if (bytes.length === 0) return NO_FACTS;
  const version = bytes[0] as number;
  if (version > VERSION) {
    throw new PinionError(
      "format-too-new",
      `the facts of an extent have format ${version}, this version reads up to format ${VERSION}`,
      { details: { version, supported: VERSION } },
    );
  }
  if (version === 0 || bytes.length < 3) throw malformed("they have no version");
  const input = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const bits = input[1] as number;
  let at = 2;
  const need = (byteCount: number): number => {
    if (byteCount > input.length - at) throw malformed("they end too soon");
    at += byteCount;
    return at - byteCount;
  };
  const number = (bit: number): number | undefined =>
    (bits & bit) === 0 ? undefined : Number(input.readBigUInt64LE(need(8)));
  const numaNode = number(Bit.numaNode);
  const rowGroup = number(Bit.rowGroup);
  const partition = number(Bit.partition);
  let timeBucket: TimeBucket | undefined;
  if ((bits & Bit.timeBucket) !== 0) {
    const start = need(16);
    timeBucket = { fromMs: input.readDoubleLE(start), toMs: input.readDoubleLE(start + 8) };
  }
  const hugeDecided = (bits & Bit.hugeDecided) !== 0;
  const hugeWanted = (bits & Bit.hugeWanted) !== 0;
  if (hugeWanted && !hugeDecided) throw malformed("huge pages that nobody has decided on");
  const flags: ExtentFlags = {
    hot: (bits & Bit.hot) !== 0,
    prefetch: (bits & Bit.prefetch) !== 0,
    hugePages: hugeDecided ? hugeWanted : undefined,
    numaNode,
  };
  const attributes = { rowGroup, partition, timeBucket };
  const links = linksOf(input, need);
  const problem = flagsProblem(flags) ?? attributesProblem(attributes);
  if (problem !== undefined) throw malformed(problem);
  if (at !== input.length) throw malformed("bytes behind the last connection");
  const facts = { flags, attributes, links };
  if (!says(facts)) throw malformed("they say nothing");
  return facts;
}

function linksOf(input: Buffer, need: (byteCount: number) => number): ExtentLink[] {
  const count = input[need(1)] as number;
  if (count > LINKS_MAX) throw malformed(`${count} connections`);
  const links: ExtentLink[] = [];
  const known = new Set<string>();
  for (let left = count; left > 0; left--) {
    const start = need(6);
    const nameAt = need(input[start + 5] as number);
    const name = input.subarray(nameAt, nameAt + (input[start + 5] as number));
    const kind = LINK_KINDS[input[start] as number];
    if (kind === undefined || !isUtf8(name)) throw malformed("a connection that is none");
    const link = { kind, to: name.toString("utf8"), weight: input.readFloatLE(start + 1) };
    const problem = linkProblem(link);
    if (problem !== undefined) throw malformed(problem);
    const key = `${kind} ${link.to}`;
    if (known.has(key)) throw malformed("a connection twice");
    known.add(key);
    links.push(link);
  }
  return links;
}

/** As `decodeFacts`, with errors that name the extent. @throws `format-too-new`, `corruption` */
export function storedFacts(actor: string, extent: string, bytes: Uint8Array): ExtentFacts {
  try {
    return decodeFacts(bytes);
  } catch (e) {
    if (!isPinionError(e)) throw e;
    throw new PinionError(e.code, `extent "${extent}" of ${actor}: ${e.message}`, {
      cause: e,
      details: { ...e.details, actor, extent },
    });
  }
}

// ---------------------------------------------------------------- changing

/** With a connection made, or given another weight. @throws `invalid-argument` */
export function withLink(facts: ExtentFacts, extent: string, link: ExtentLink): ExtentFacts {
  const problem = linkProblem(link);
  if (problem !== undefined) throw new PinionError("invalid-argument", problem);
  const stored = { ...link, weight: Math.fround(link.weight) };
  const at = facts.links.findIndex(({ kind, to }) => kind === link.kind && to === link.to);
  if (at >= 0) return { ...facts, links: facts.links.with(at, stored) };
  if (Buffer.byteLength(link.to) > NAME_BYTES_MAX) {
    throw new PinionError(
      "invalid-argument",
      `extent "${extent}" can only be connected with one whose name has ${NAME_BYTES_MAX} bytes at most`,
      { details: { extent, limit: NAME_BYTES_MAX } },
    );
  }
  if (facts.links.length >= LINKS_MAX) {
    throw new PinionError(
      "invalid-argument",
      `extent "${extent}" has ${LINKS_MAX} connections, which is the most: remove one first`,
      { details: { extent, limit: LINKS_MAX } },
    );
  }
  return { ...facts, links: [...facts.links, stored] };
}

/** @param kind undefined: of whatever kind */
export function withoutLink(
  facts: ExtentFacts,
  to: string,
  kind: LinkKind | undefined,
): ExtentFacts {
  const links = facts.links.filter(
    (link) => link.to !== to || (kind !== undefined && link.kind !== kind),
  );
  return links.length === facts.links.length ? facts : { ...facts, links };
}

/** What a connection is from its other end. */
export const OPPOSITE: Readonly<Record<LinkKind, LinkKind>> = Object.freeze({
  next: "previous",
  previous: "next",
  "co-accessed": "co-accessed",
});
