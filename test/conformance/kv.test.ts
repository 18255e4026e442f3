/** What every `KvStore` does, real or simulated. Crashes of the simulation are in sim-kv.test.ts. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isPinionError, PinionError, seededRng } from "@pinion/core";
import {
  LmdbKv,
  RealDisk,
  ShardStore,
  SimDisk,
  SimKv,
  type KvStore,
  type KvWrite,
} from "@pinion/storage";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

interface KvUnderTest {
  readonly kv: KvStore;
  /** The store again, after a clean close. */
  reopen(): Promise<KvStore>;
  stop(): Promise<void>;
}

async function lmdbKv(): Promise<KvUnderTest> {
  const dir = await mkdtemp(join(tmpdir(), "pinion-kv-"));
  let kv = await LmdbKv.open(join(dir, "index.mdb"));
  return {
    kv,
    reopen: async () => {
      await kv.close();
      return (kv = await LmdbKv.open(join(dir, "index.mdb")));
    },
    stop: async () => {
      await kv.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function simKv(): Promise<KvUnderTest> {
  let kv = new SimKv({ rng: seededRng(3) });
  return {
    kv,
    reopen: async () => {
      await kv.close();
      return (kv = kv.kill());
    },
    stop: () => kv.close(),
  };
}

async function segmentKv(): Promise<KvUnderTest> {
  const dir = await mkdtemp(join(tmpdir(), "pinion-kv-"));
  const rng = seededRng(4);
  const open = (): Promise<ShardStore> =>
    ShardStore.open({
      disk: new RealDisk(),
      dir: join(dir, "segments"),
      newGeneration: () => rng.below(2 ** 31),
    });
  let kv = await open();
  return {
    kv,
    reopen: async () => {
      await kv.close();
      return (kv = await open());
    },
    stop: async () => {
      await kv.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Small segments and hardly any memory, so that everything is read again and cleaned all the time. */
async function segmentKvInMemory(): Promise<KvUnderTest> {
  const rng = seededRng(5);
  const disk = new SimDisk({ rng });
  const open = (): Promise<ShardStore> =>
    ShardStore.open({
      disk,
      dir: "segments",
      newGeneration: () => rng.below(2 ** 31),
      segmentPages: 24,
      cachedPagesMax: 2,
    });
  let kv = await open();
  return {
    kv,
    reopen: async () => {
      await kv.close();
      return (kv = await open());
    },
    stop: () => kv.close(),
  };
}

const key = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes);
const put = (table: string, k: Uint8Array, value: Uint8Array | undefined): KvWrite => ({
  table,
  key: k,
  value,
});
const code = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise;
  } catch (e) {
    return isPinionError(e) ? e.code : String(e);
  }
  return "no error";
};
const compare = (a: Uint8Array, b: Uint8Array): number => Buffer.compare(a, b);

describe.each([
  ["LmdbKv", lmdbKv],
  ["SimKv", simKv],
  ["ShardStore", segmentKv],
  ["ShardStore on a simulated disk", segmentKvInMemory],
])("%s", (_, make) => {
  let under: KvUnderTest;
  let kv: KvStore;

  beforeEach(async () => {
    under = await make();
    kv = under.kv;
  });
  afterEach(() => under.stop());

  it("returns what was committed, and undefined for what never was", async () => {
    await kv.commit([put("t", key(1), key(10)), put("u", key(1), key(20))]);
    expect(await kv.get("t", key(1))).toEqual(key(10));
    expect(await kv.get("u", key(1))).toEqual(key(20));
    expect(await kv.get("t", key(1, 0))).toBeUndefined();
    expect(await kv.get("never", key(1))).toBeUndefined();
    expect(await kv.range("never", {})).toEqual([]);
    const reads = [
      put("t", key(9), key()),
      put("t", key(1), key()),
      put("u", key(1), key()),
      put("never", key(1), key()),
    ];
    expect(await kv.getMany(reads)).toEqual([undefined, key(10), key(20), undefined]);
    expect(await kv.getMany([])).toEqual([]);
  });

  it("lets later writes of a batch win, and deletes", async () => {
    await kv.commit([
      put("t", key(1), key(1)),
      put("t", key(1), undefined),
      put("t", key(2), key(2)),
    ]);
    await kv.commit([
      put("t", key(2), undefined),
      put("t", key(2), key(3)),
      put("t", key(7), undefined),
    ]);
    expect(await kv.range("t", {})).toEqual([{ key: key(2), value: key(3) }]);
    await kv.commit([]);
  });

  it("takes a batch in slices as one, or not at all when a slice cannot be made", async () => {
    await kv.commit(
      (async function* () {
        yield [put("t", key(1), key(1)), put("u", key(1), key(1))];
        expect(await kv.range("t", {})).toEqual([]);
        yield [];
        yield [put("t", key(1), key(2)), put("v", key(2), key(2))];
      })(),
    );
    expect(await kv.get("t", key(1))).toEqual(key(2));
    expect(await kv.getMany([put("u", key(1), key()), put("v", key(2), key())])).toEqual([
      key(1),
      key(2),
    ]);
    const broken = kv.commit(
      (async function* () {
        yield [put("t", key(7), key(7))];
        await Promise.resolve();
        throw new PinionError("state-too-large", "no");
      })(),
    );
    expect(await code(broken)).toBe("state-too-large");
    expect(await kv.get("t", key(7))).toBeUndefined();
  });

  it("tells an empty value from none", async () => {
    await kv.commit([put("t", key(1), key())]);
    expect(await kv.get("t", key(1))).toEqual(key());
    expect(await kv.range("t", {})).toEqual([{ key: key(1), value: key() }]);
  });

  it("orders keys bytewise and cuts ranges at their bounds", async () => {
    const keys = [
      key(0),
      key(0, 0),
      key(1),
      key(1, 255),
      key(2),
      key(128),
      key(255),
      key(255, 255),
    ];
    await kv.commit(keys.toReversed().map((k) => put("t", k, k)));
    const range = async (options: Parameters<KvStore["range"]>[1]): Promise<string[]> =>
      (await kv.range("t", options)).map((entry) => Buffer.from(entry.key).toString("hex"));
    expect(await range({})).toEqual(["00", "0000", "01", "01ff", "02", "80", "ff", "ffff"]);
    expect(await range({ from: key(1), to: key(2) })).toEqual(["01", "01ff"]);
    expect(await range({ from: key(0, 1), to: key(1, 254) })).toEqual(["01"]);
    expect(await range({ from: key(1), limit: 2 })).toEqual(["01", "01ff"]);
    expect(await range({ to: key(2), reverse: true })).toEqual(["01ff", "01", "0000", "00"]);
    expect(await range({ from: key(1), to: key(128), reverse: true, limit: 2 })).toEqual([
      "02",
      "01ff",
    ]);
    expect(await range({ from: key(1), to: key(200), reverse: true })).toEqual([
      "80",
      "02",
      "01ff",
      "01",
    ]);
    expect(await range({ reverse: true, limit: 1 })).toEqual(["ffff"]);
    expect(await range({ from: key(2), to: key(2) })).toEqual([]);
    expect(await range({ from: key(3), to: key(1) })).toEqual([]);
    expect(await range({ limit: 0 })).toEqual([]);
  });

  it("reads at most 1,000 entries unless told otherwise", async () => {
    await kv.commit(Array.from({ length: 1_200 }, (_, i) => put("t", key(i >> 8, i), key(1))));
    expect(await kv.range("t", {})).toHaveLength(1_000);
    expect(await kv.range("t", { limit: 5_000 })).toHaveLength(1_200);
  });

  it("holds keys of 1,900 bytes and values of megabytes", async () => {
    const long = new Uint8Array(1_900).fill(7);
    const value = new Uint8Array(3_000_000).map((_, i) => i * 31);
    await kv.commit([put("t", long, value)]);
    const got = await kv.get("t", long);
    expect(got && compare(got, value)).toBe(0);
  });

  it("refuses keys and tables out of bounds, and commits nothing of their batch", async () => {
    expect(await code(kv.commit([put("t", key(1), key(1)), put("t", key(), key(1))]))).toBe(
      "invalid-argument",
    );
    expect(
      await code(kv.commit([put("t", key(1), key(1)), put("t", new Uint8Array(1_901), key(1))])),
    ).toBe("invalid-argument");
    expect(await code(kv.commit([put("no table", key(1), key(1))]))).toBe("invalid-argument");
    expect(await code(kv.get("t", key()))).toBe("invalid-argument");
    expect(await code(kv.range("", {}))).toBe("invalid-argument");
    expect(await kv.range("t", {})).toEqual([]);
  });

  it("keeps neither the caller's bytes nor its own in the other's hands", async () => {
    const memory = key(0, 1, 2, 3);
    const committing = kv.commit([put("t", memory.subarray(1, 2), memory.subarray(2, 4))]);
    memory.fill(9);
    await committing;
    const value = (await kv.get("t", key(1))) as Uint8Array;
    expect(value).toEqual(key(2, 3));
    value.fill(8);
    const [entry] = await kv.range("t", {});
    expect(entry).toEqual({ key: key(1), value: key(2, 3) });
    entry?.key.fill(8);
    expect(await kv.get("t", key(1))).toEqual(key(2, 3));
    const bound = key(1);
    const reads = Promise.all([
      kv.range("t", { from: bound }),
      kv.get("t", bound),
      kv.range("t", { to: key(2) }),
    ]);
    bound.fill(9);
    expect(await reads).toEqual([
      [{ key: key(1), value: key(2, 3) }],
      key(2, 3),
      [{ key: key(1), value: key(2, 3) }],
    ]);
  });

  it("answers many reads and commits at once, each with the latest resolved commit", async () => {
    await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        await kv.commit([put("t", key(i), key(i, 1))]);
        expect(await kv.get("t", key(i))).toEqual(key(i, 1));
      }),
    );
    expect(await kv.range("t", {})).toHaveLength(50);
  });

  it("has everything again after a sync, a close and a reopening", async () => {
    await kv.commit([put("t", key(1), key(1)), put("u", key(2), key(2))]);
    await kv.sync();
    kv = await under.reopen();
    expect(await kv.get("t", key(1))).toEqual(key(1));
    expect(await kv.range("u", {})).toEqual([{ key: key(2), value: key(2) }]);
    await kv.commit([put("t", key(1), undefined)]);
    expect(await kv.get("t", key(1))).toBeUndefined();
  });

  it("finishes commits under way before it closes, and takes nothing afterwards", async () => {
    const committing = kv.commit([put("t", key(1), key(1))]);
    const closing = kv.close();
    expect(await code(kv.commit([put("t", key(2), key(1))]))).toBe("internal");
    expect(await code(kv.get("t", key(2)))).toBe("internal");
    await committing;
    await closing;
    await kv.close();
  });

  it("is a sorted map, whatever is done to it", async () => {
    const smallKey = fc
      .uint8Array({ minLength: 1, maxLength: 3 })
      .map((bytes) => bytes.map((byte) => byte % 4));
    const write = fc.record({
      table: fc.constantFrom("t", "u"),
      key: smallKey,
      value: fc.option(fc.uint8Array({ maxLength: 8 }), { nil: undefined }),
    });
    const range = fc.record(
      { from: smallKey, to: smallKey, limit: fc.nat(6), reverse: fc.boolean() },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.array(write, { maxLength: 8 }), range), { maxLength: 6 }),
        async (steps) => {
          for (const table of ["t", "u"]) {
            await kv.commit(
              (await kv.range(table, {})).map((entry) => put(table, entry.key, undefined)),
            );
          }
          const model = new Map<string, KvWrite>();
          for (const [writes, options] of steps) {
            await kv.commit(writes);
            for (const one of writes)
              model.set(`${one.table} ${Buffer.from(one.key).toString("hex")}`, one);
            const { from, to, limit, reverse } = options;
            const expected = [...model.values()]
              .filter((one) => one.table === "t" && one.value !== undefined)
              .filter(
                (one) =>
                  (!from || compare(one.key, from) >= 0) && (!to || compare(one.key, to) < 0),
              )
              .sort((a, b) => (reverse ? compare(b.key, a.key) : compare(a.key, b.key)))
              .slice(0, limit)
              .map((one) => ({
                key: Uint8Array.from(one.key),
                value: Uint8Array.from(one.value ?? []),
              }));
            const got = await kv.range("t", options);
            expect(
              got.map((e) => ({ key: Uint8Array.from(e.key), value: Uint8Array.from(e.value) })),
            ).toEqual(expected);
          }
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe("LmdbKv alone", () => {
  let dir: string;
  let path: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "pinion-kv-"));
    path = join(dir, "index.mdb");
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  async function filled(): Promise<void> {
    const kv = await LmdbKv.open(path);
    await kv.commit(
      Array.from({ length: 500 }, (_, i) => put("t", key(i >> 8, i), new Uint8Array(300).fill(i))),
    );
    await kv.close();
  }

  it("keeps every commit that resolved when its process is killed", async () => {
    const script = fileURLToPath(new URL("fixtures/kv-committer.ts", import.meta.url));
    const committer = spawn(process.execPath, ["--conditions=source", script, path], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let text = "";
    const acknowledged = (): number => text.split("\n").length - 1;
    await new Promise<void>((resolve) => {
      committer.stdout.on("data", (chunk) => {
        text += String(chunk);
        if (acknowledged() >= 30) resolve();
      });
    });
    committer.kill("SIGKILL");
    await once(committer, "exit");
    const kv = await LmdbKv.open(path);
    const count = (await kv.range("t", {})).length;
    expect(count).toBeGreaterThanOrEqual(acknowledged());
    await kv.commit([put("t", key(255, 255), key(1))]);
    expect(await kv.range("t", {})).toHaveLength(count + 1);
    await kv.close();
  });

  it.each<[string, string, (path: string) => Promise<void>]>([
    ["is something else", "corruption", (file) => writeFile(file, new Uint8Array(100_000).fill(3))],
    ["is all zeros", "corruption", (file) => truncate(file, 0).then(() => truncate(file, 100_000))],
    [
      "is the rest of an interrupted creation",
      "no error",
      (file) => truncate(file, 0).then(() => truncate(file, 8_192)),
    ],
    ["is empty", "no error", (file) => truncate(file, 0)],
  ])("opens or refuses a file that %s, and never ends the process", async (_, expected, damage) => {
    await filled();
    await damage(path);
    const opened = LmdbKv.open(path);
    expect(await code(opened)).toBe(expected);
    if (expected === "no error") await (await opened).close();
  });

  it("says `corruption` where a file was cut short, and never ends the process", async () => {
    await filled();
    const whole = await readFile(path);
    const outcomes = new Set<string>();
    for (let pages = 3; pages < whole.length / 4096; pages += 7) {
      await writeFile(path, whole.subarray(0, pages * 4096));
      const kv = await LmdbKv.open(path);
      outcomes.add(await code(kv.range("t", {})));
      await kv.close();
    }
    expect([...outcomes]).toEqual(["corruption"]);
  });

  it("says what is wrong with a folder that does not exist or may not be written", async () => {
    expect(await code(LmdbKv.open("/proc/index.mdb"))).not.toBe("no error");
  });
});
