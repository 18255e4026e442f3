/** Operations on bytes and blobs. Their writes come one after the other; reads may be under way when one begins, and see what was before it. */
import type { Rng } from "@pinion/core";
import {
  bytesOf,
  Comparisons,
  pause,
  same,
  sameBytes,
  withBytes,
  type Bench,
  type Exercise,
  type Handles,
  type Model,
} from "./structure-model.ts";

type BytesView = ReturnType<Handles["bytes"]["view"]>;

function viewOf(bench: Bench, bytes: Handles["bytes"]): BytesView | undefined {
  try {
    return bytes.view();
  } catch (e) {
    bench.allowNotResident(e);
    return undefined;
  }
}

function lookThrough(bench: Bench, view: BytesView, expected: Uint8Array, rng: Rng): void {
  if (expected.length === 0) return;
  const offset = rng.below(expected.length);
  try {
    same(`byte ${offset} of a view`, view.getUint8(offset), expected[offset]);
  } catch (e) {
    bench.allowNotResident(e);
  }
}

export const BYTES: Exercise = {
  async change(bench: Bench, { bytes }: Handles, model: Model, rng: Rng): Promise<void> {
    const reads = new Comparisons();
    const isViewed = bench.isResident("bytes") && rng.below(2) === 0;
    const view = isViewed ? viewOf(bench, bytes) : undefined;
    for (let left = 1 + rng.below(6); left > 0; left--) {
      if (rng.below(3) === 0) bench.poke("bytes");
      const before = model.bytes;
      const content = bytesOf(rng, rng.below(5) === 0 ? 20_000 : 200);
      switch (rng.below(7)) {
        case 0: {
          const length = rng.below(4) === 0 ? 0 : rng.below(before.length + 6_000);
          await bytes.resize(length);
          model.bytes = withBytes(new Uint8Array(length), 0, before.subarray(0, length));
          break;
        }
        case 1:
          same("append", bytes.append(content), before.length);
          model.bytes = withBytes(before, before.length, content);
          break;
        case 2: {
          if (before.length === 0) break;
          const offset = rng.below(before.length);
          const byteCount = Math.min(rng.below(300), before.length - offset);
          const range = before.subarray(offset, offset + byteCount);
          const inverted = range.map((byte) => byte ^ 0x55);
          await bytes.update(offset, byteCount, (came) => {
            sameBytes("update", came, range);
            came.set(inverted);
          });
          model.bytes = withBytes(before, offset, inverted);
          break;
        }
        case 3: {
          const offset = rng.below(before.length + (rng.below(5) === 0 ? 9_000 : 1));
          await bytes.write(offset, content);
          if (content.length > 0) model.bytes = withBytes(before, offset, content);
          break;
        }
        default:
          for (let count = 1 + rng.below(3); count > 0; count--) {
            const offset = rng.below(before.length + 1);
            const byteCountMax = rng.below(rng.below(3) === 0 ? 60_000 : 600);
            const byteCount = Math.min(byteCountMax, before.length - offset);
            const range = before.subarray(offset, offset + byteCount);
            reads.add(`read ${offset}+${byteCount}`, () => bytes.read(offset, byteCount), range);
            if (rng.below(3) === 0) bench.poke("bytes");
          }
      }
      if (rng.below(3) === 0) await reads.done();
      if (view !== undefined) lookThrough(bench, view, model.bytes, rng);
    }
    await reads.done();
  },

  async verify({ bytes }: Handles, model: Model, rng: Rng): Promise<void> {
    same("length", bytes.lengthBytes, model.bytes.length);
    for (let offset = 0; offset < model.bytes.length;) {
      const end = Math.min(model.bytes.length, offset + 1 + rng.below(20_000));
      const found = await bytes.read(offset, end - offset);
      sameBytes(`bytes from ${offset}`, found, model.bytes.subarray(offset, end));
      offset = end;
      if (rng.below(3) === 0) await pause(rng);
    }
  },
};

const nameOf = (rng: Rng): string => `blob${rng.below(8)}`;

async function* partByPart(bench: Bench, parts: readonly Uint8Array[], rng: Rng) {
  for (const part of parts) {
    yield part;
    if (rng.below(2) === 0) bench.poke("blobs");
    await pause(rng);
  }
}

export const BLOBS: Exercise = {
  async change(bench: Bench, { blobs }: Handles, model: Model, rng: Rng): Promise<void> {
    const reads = new Comparisons();
    const expected = model.blobs;
    const read = async (name: string): Promise<void> => {
      const found: Uint8Array[] = [];
      for await (const part of blobs.get(name)) {
        found.push(part);
        if (rng.below(2) === 0) bench.poke("blobs");
      }
      sameBytes(`get ${name}`, Buffer.concat(found), expected.get(name) as Uint8Array);
    };
    const stat = (name: string): void => {
      const info = async (): Promise<unknown> => (await blobs.stat(name))?.byteCount;
      reads.add(`stat ${name}`, info, expected.get(name)?.length);
    };
    for (let left = 1 + rng.below(5); left > 0; left--) {
      if (rng.below(3) === 0) bench.poke("blobs");
      const name = nameOf(rng);
      switch (rng.below(9)) {
        case 0:
        case 1: {
          // A beginning that others have, too: its chunks are stored once.
          const shared = bytesOf(rng.fork(String(rng.below(4))), 60_000);
          const content = withBytes(shared, shared.length, bytesOf(rng, 3_000));
          await blobs.put(name, content);
          expected.set(name, content);
          break;
        }
        case 2: {
          const parts = Array.from({ length: 1 + rng.below(4) }, () => bytesOf(rng, 50_000));
          await blobs.put(name, partByPart(bench, parts, rng));
          expected.set(name, new Uint8Array(Buffer.concat(parts)));
          break;
        }
        case 3:
          same(`delete ${name}`, await blobs.delete(name), expected.delete(name));
          break;
        case 4:
          await blobs.reclaim(20);
          break;
        case 5: {
          const found = new Map<string, number>();
          for await (const info of blobs.list()) {
            found.set(info.name, info.byteCount);
            if (rng.below(3) === 0) bench.poke("blobs");
          }
          same("list", found, new Map([...expected].map(([key, { length }]) => [key, length])));
          break;
        }
        case 6:
          await Promise.all([name, nameOf(rng)].filter((each) => expected.has(each)).map(read));
          break;
        default:
          for (let count = 1 + rng.below(3); count > 0; count--) {
            stat(nameOf(rng));
            if (rng.below(3) === 0) bench.poke("blobs");
          }
      }
      if (rng.below(3) === 0) await reads.done();
    }
    await reads.done();
  },

  async verify({ blobs }: Handles, model: Model, rng: Rng): Promise<void> {
    const names: string[] = [];
    for await (const { name } of blobs.list()) names.push(name);
    same("names", names.sort(), [...model.blobs.keys()].sort());
    for (const name of names) {
      const found: Uint8Array[] = [];
      for await (const part of blobs.get(name)) {
        found.push(part);
        if (rng.below(3) === 0) await pause(rng);
      }
      sameBytes(`blob ${name}`, Buffer.concat(found), model.blobs.get(name) as Uint8Array);
    }
  },
};
