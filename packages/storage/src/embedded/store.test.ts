import { isPinionError } from "@pinion/core";
import { describe, expect, it } from "vitest";
import type { ExtentAccess } from "../extent/extent-access.ts";
import { blob, BlobHandle } from "../structures/blob.ts";
import { javascriptChunkKernels, type ChunkKernels } from "../structures/chunk-kernels.ts";
import { column } from "../structures/column.ts";
import { map } from "../structures/map.ts";
import type { StructureDefinition } from "../structures/structure.ts";
import { StoreMachine } from "./store.test.fixture.ts";
import type { Store } from "./store.ts";

const AIRPORT = { delays: column("f64"), routes: map<{ km: number }>({ key: "string" }) };
const COUNTER = { values: column("f64") };
/** The extent itself, for tests that need exact bytes. */
const BYTES: StructureDefinition<ExtentAccess> = {
  kind: "blob",
  version: 1,
  options: { growBytes: 65_536, growChosen: false },
  open: (extent) => extent,
};

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "nothing was thrown";
  } catch (e) {
    return isPinionError(e) ? e.code : String(e);
  }
}

async function fill(store: Store, name: string, pages: number): Promise<void> {
  const volume = await store.open(name, { data: BYTES });
  for (let done = 0; done < pages; done += 16)
    await volume.update(({ data }) => data.append(new Uint8Array(16 * 4096).fill(7)));
  await volume.close();
}

describe("updates", () => {
  it("are there after a restart, with and without a checkpoint between", async () => {
    const machine = new StoreMachine();
    for (let life = 0; life < 4; life++) {
      const store = await machine.open();
      const airport = await store.open("airport/JFK", AIRPORT);
      expect(await airport.read(({ delays }) => delays.length)).toBe(life);
      const km = await airport.update(async ({ delays, routes }) => {
        await delays.append(12 + life);
        await routes.set(`to ${life}`, { km: 3983 });
        return (await routes.get("to 0"))?.km;
      });
      expect(km).toBe(3983);
      expect(await airport.read(({ routes }) => routes.size())).toBe(life + 1);
      if (life % 2 === 0) machine.crash();
      else await store.close();
    }
  });

  it("that throw change nothing, and the next ones run", async () => {
    await using store = await new StoreMachine().open();
    const airport = await store.open("airport/JFK", AIRPORT);
    const failing = airport.update(async ({ delays, routes }) => {
      await delays.append(1);
      await routes.set("LAX", { km: 1 });
      throw new RangeError("not like this");
    });
    await expect(failing).rejects.toThrow(RangeError);
    await airport.update(({ delays }) => delays.append(2));
    expect(await airport.read(({ delays }) => delays.sum())).toBe(2);
    expect(await airport.read(({ routes }) => routes.size())).toBe(0);
  });

  it("of one volume run one after the other, of two side by side", async () => {
    await using store = await new StoreMachine().open();
    const [a, b] = [await store.open("a", COUNTER), await store.open("b", COUNTER)];
    const order: string[] = [];
    const gate = Promise.withResolvers<void>();
    const first = a.update(async ({ values }) => {
      order.push("a1 begins");
      await gate.promise;
      await values.append(1);
      order.push("a1 ends");
    });
    const second = a.update(({ values }) => {
      order.push("a2");
      return values.append(2);
    });
    await b.update(({ values }) => {
      order.push("b");
      return values.append(3);
    });
    gate.resolve();
    await Promise.all([first, second]);
    expect(order).toEqual(["a1 begins", "b", "a1 ends", "a2"]);
  });

  it("begin when the one before is appended, and end when they are flushed, in order", async () => {
    const machine = new StoreMachine();
    await using store = await machine.open();
    const volume = await store.open("a", COUNTER);
    const seen: string[] = [];
    const updates = [1, 2, 3].map((n) =>
      volume
        .update(({ values }) => {
          seen.push(`run ${n}`);
          return values.append(n);
        })
        .then(() => seen.push(`answer ${n}`)),
    );
    await Promise.all(updates);
    expect(seen).toEqual(["run 1", "run 2", "run 3", "answer 1", "answer 2", "answer 3"]);
  });

  it("beyond the bound are refused, and a signal gives up the wait or the turn", async () => {
    await using store = await new StoreMachine().open({ waitingMax: 2 });
    const volume = await store.open("a", COUNTER);
    const gate = Promise.withResolvers<void>();
    const stop = new AbortController();
    const given = new AbortController();
    const running = volume.update(
      async ({ values }) => {
        await values.append(1);
        await gate.promise;
        await values.append(2);
      },
      { signal: stop.signal },
    );
    const waiting = volume.update(({ values }) => values.append(3), { signal: given.signal });
    const last = volume.update(({ values }) => values.append(4));
    expect(await codeOf(volume.update(() => 0))).toBe("overloaded");
    given.abort(new RangeError("enough"));
    stop.abort(new RangeError("stop"));
    await expect(waiting).rejects.toThrow("enough");
    await expect(running).rejects.toThrow("stop");
    await last;
    gate.resolve();
    expect(await volume.read(({ values }) => values.sum())).toBe(4);
    await expect(volume.update(() => 0, { signal: stop.signal })).rejects.toThrow("stop");
  });

  it("cannot wait for each other: none begins inside another", async () => {
    await using store = await new StoreMachine().open();
    const [a, b] = [await store.open("a", COUNTER), await store.open("b", COUNTER)];
    const later: (() => Promise<unknown>)[] = [];
    const refused: (() => Promise<unknown>)[] = [
      () => a.update(() => 0),
      () => b.update(() => 0),
      () => store.close(),
      () => a.close(),
      () => store.checkpoint(),
      () => store.delete("c"),
    ];
    for (const inner of refused) {
      expect(await codeOf(a.update(inner))).toBe("invalid-argument");
    }
    await a.update(() => void later.push(() => b.update(({ values }) => values.append(1))));
    await later[0]?.();
    expect(await a.update(() => b.read(({ values }) => values.length))).toBe(1);
  });

  it("that return before their work on a structure is done change nothing", async () => {
    const machine = new StoreMachine();
    await using store = await machine.open();
    const text = "x".repeat(900);
    const volume = await store.open("a", { table: map<string>({ key: "number" }) });
    await volume.update(async ({ table }) => {
      for (let i = 0; i < 100; i++) await table.set(i, text);
    });
    await volume.close();
    const cold = await store.open(
      "a",
      { table: map<string>({ key: "number" }) },
      { profile: "cold" },
    );
    const careless = cold.update(({ table }) => {
      Promise.resolve(table.set(50.5, text)).catch(() => {});
    });
    expect(await codeOf(careless)).toBe("invalid-argument");
    expect(await cold.read(({ table }) => table.size())).toBe(100);
    await cold.update(({ table }) => table.set(50.5, text));
    expect(await cold.read(({ table }) => table.verify())).toMatchObject({});
  });

  it("that return while a blob is still hashed change nothing", async () => {
    const hashing = Promise.withResolvers<void>();
    /** A thread that has begun, and takes its time. */
    const slow: ChunkKernels = {
      ...javascriptChunkKernels,
      hashLater: async (memory, places, count, ticket) => {
        new Uint32Array(memory.buffer)[0] = ticket + 1;
        await hashing.promise;
        javascriptChunkKernels.hash(memory, places, count);
        new Uint32Array(memory.buffer)[0] = ticket + 2;
      },
    };
    const files = { ...blob(), open: (extent: ExtentAccess) => new BlobHandle(extent, slow) };
    const machine = new StoreMachine();
    await using store = await machine.open({ logSegmentBytes: 8 * 2 ** 20 });
    const bytes = new Uint8Array(2_000_000).map((_, i) => Math.imul(i, 0x9e3779b1) >>> 24);
    const volume = await store.open("a", { files });
    let late: Promise<string> | undefined;
    const careless = volume.update(({ files }) => {
      late = codeOf(files.put("b", bytes));
    });
    expect(await codeOf(careless)).toBe("invalid-argument");
    hashing.resolve();
    expect(await late).toBe("view-expired");
    expect(await volume.read(({ files }) => files.stat("b"))).toBeUndefined();
    await volume.update(({ files }) => files.put("b", bytes));
    const { length: byteCount } = bytes;
    expect(await volume.read(({ files }) => files.stat("b"))).toMatchObject({ byteCount });
  });
});

describe("reads", () => {
  it("see one moment, do not keep updates waiting, and cannot write", async () => {
    await using store = await new StoreMachine().open();
    const volume = await store.open("a", COUNTER);
    await volume.update(({ values }) => values.append(1));
    const gate = Promise.withResolvers<void>();
    const read = volume.read(async ({ values }) => {
      const before = await values.sum();
      await gate.promise;
      return [before, await values.sum()];
    });
    await volume.update(({ values }) => values.append(10));
    gate.resolve();
    expect(await read).toEqual([1, 1]);
    expect(await codeOf(volume.read(({ values }) => values.append(1)))).toBe("readonly-violation");
  });

  it("tell nobody of an update that is not durable yet", async () => {
    const machine = new StoreMachine();
    const store = await machine.open();
    const volume = await store.open("a", COUNTER);
    await volume.update(({ values }) => values.append(1));
    machine.disk.fail({ kind: "write", path: "log/", error: "EIO", times: Infinity });
    const update = codeOf(volume.update(({ values }) => values.append(2)));
    // The next one begins when the record is appended.
    let read = Promise.resolve("");
    const next = codeOf(
      volume.update(() => {
        read = codeOf(volume.read(({ values }) => values.sum()));
      }),
    );
    expect([await update, await next, await read]).toEqual([
      "log-closed",
      "log-closed",
      "log-closed",
    ]);
  });
});

describe("a store", () => {
  it("ends with a failed flush: everything is refused by name, and what was answered is there again", async () => {
    const machine = new StoreMachine();
    const store = await machine.open();
    const volume = await store.open("a", COUNTER);
    await volume.update(({ values }) => values.append(1));
    machine.disk.fail({ kind: "write", path: "log/", error: "EIO" });
    expect(await codeOf(volume.update(({ values }) => values.append(2)))).toBe("log-closed");
    expect(store.failure?.code).toBe("io-error");
    expect(machine.warnings).toEqual(["io-error"]);
    for (const refused of [
      volume.update(() => 0),
      volume.read(() => 0),
      store.open("b", COUNTER),
      store.delete("b"),
      store.volumes(),
      store.checkpoint(),
    ])
      expect(await codeOf(refused)).toBe("log-closed");
    await store.close();
    machine.crash();
    await using again = await machine.open();
    const values = await again.open("a", COUNTER);
    expect([1, 3]).toContain(await values.read(({ values: v }) => v.sum()));
  });

  it("is not ahead of its log after a power cut, also where nobody waits for the flush", async () => {
    const machine = new StoreMachine();
    const store = await machine.open({ flush: "periodic(1s)" });
    const volume = await store.open("a", COUNTER);
    await volume.update(({ values }) => values.append(1));
    await store.checkpoint();
    await volume.update(({ values }) => values.append(2));
    machine.crash(0);
    await using again = await machine.open();
    const values = await again.open("a", COUNTER);
    expect(await values.read(({ values: v }) => v.sum())).toBe(1);
  });

  it("takes checkpoints as the log grows and as changes age, and lets go of the log", async () => {
    const machine = new StoreMachine();
    await using store = await machine.open({ checkpointLogBytes: 256 * 1024, checkpointMs: 1_000 });
    const volume = await store.open("a", { data: BYTES });
    for (let i = 0; i < 40; i++) {
      await volume.update(({ data }) => void data.write(0, new Uint8Array(32_768).fill(i)));
      await machine.clock.advance(1);
    }
    await machine.clock.settle();
    const { checkpoints, log, state } = await store.stats();
    expect(checkpoints.completed).toBeGreaterThan(2);
    expect(log.removedSegments).toBeGreaterThan(1);
    expect(state?.livePages).toBeGreaterThan(8);
    await volume.update(({ data }) => void data.write(0, new Uint8Array(1)));
    await machine.clock.advance(999);
    const before = (await store.stats()).checkpoints.completed;
    await machine.clock.advance(10);
    expect((await store.stats()).checkpoints.completed).toBe(before + 1);
    expect(machine.clock.pending).toBeLessThanOrEqual(1); // a marker of the log; nothing of ours
  });

  it("lets updates wait while too many changed pages have to be written, and goes on once they are", async () => {
    const machine = new StoreMachine();
    await using store = await machine.open({ checkpointDirtyBytes: 64 * 1024 });
    const [a, b] = [await store.open("a", { data: BYTES }), await store.open("b", { data: BYTES })];
    const page = new Uint8Array(4_096).fill(5);
    let done = 0;
    const fillUp = async (volume: typeof a): Promise<void> => {
      for (let i = 0; i < 64; i++, done++)
        await volume.update(({ data }) => void data.write(i * 4_096, page));
    };
    const filling = Promise.all([fillUp(a), fillUp(b)]);
    let most = 0;
    while (done < 128) {
      const { volumes } = await store.stats();
      most = Math.max(most, volumes.unwrittenBytes);
      await machine.clock.advance(1);
    }
    await filling;
    // Twice the bound, and what one update of each may add.
    expect(most).toBeGreaterThanOrEqual(64 * 1024);
    expect(most).toBeLessThanOrEqual(2 * 64 * 1024 + 2 * 4_096);
    expect((await store.stats()).checkpoints.completed).toBeGreaterThanOrEqual(3);
  });

  it("refuses updates that would add to too many changed pages while checkpoints fail; reads go on", async () => {
    const machine = new StoreMachine();
    await using store = await machine.open({ checkpointDirtyBytes: 64 * 1024 });
    const volume = await store.open("a", { data: BYTES });
    machine.disk.fail({ kind: "write", path: "state/", nth: 1, times: 2, error: "ENOSPC" });
    const add = (): Promise<unknown> =>
      volume.update(({ data }) => data.append(new Uint8Array(4_096).fill(5)));
    let code = "nothing was thrown";
    let added = 0;
    for (; code === "nothing was thrown" && added < 100; added++) {
      code = await codeOf(add());
      if (added > 20) await machine.clock.advance(1);
    }
    expect(code).toBe("disk-full");
    expect(added).toBeLessThan(40);
    expect(await codeOf(volume.read(({ data }) => data.read(0, 4_096)))).toBe("nothing was thrown");
    const { retryAfterMs } = (await add().catch((e: unknown) => e)) as { retryAfterMs: number };
    expect(retryAfterMs).toBeGreaterThan(0);
    await machine.clock.advance(2_000);
    await add();
    expect(await volume.read(({ data }) => data.lengthBytes)).toBe(added * 4_096);
  });

  it("tells an update that waits for room that the store has ended, and closes", async () => {
    const machine = new StoreMachine();
    const store = await machine.open({ checkpointDirtyBytes: 64 * 1024 });
    const volume = await store.open("a", { data: BYTES });
    machine.disk.fail({ kind: "write", path: "log", error: "EIO" });
    const add = (bytes: number): Promise<unknown> =>
      volume.update(({ data }) => data.append(new Uint8Array(bytes).fill(5)));
    expect(await codeOf(add(160 * 1024))).toBe("log-closed");
    expect((await store.stats()).volumes.unwrittenBytes).toBeGreaterThan(128 * 1024);
    expect(await codeOf(add(1))).toBe("log-closed");
    await store.close();
  });

  it("takes changes of many volumes that nobody has opened out of the log in small groups", async () => {
    const machine = new StoreMachine();
    let store = await machine.open();
    for (let i = 0; i < 30; i++) {
      const volume = await store.open(`v${i}`, { data: BYTES });
      await volume.update(({ data }) => data.append(new Uint8Array(20_000).fill(i)));
    }
    machine.crash();
    store = await machine.open({ checkpointDirtyBytes: 64 * 1024 });
    const before = (await store.stats()).state?.commits ?? 0;
    await store.checkpoint();
    const { state, volumes } = await store.stats();
    expect((state?.commits ?? 0) - before).toBeGreaterThan(10);
    expect(volumes.pending).toBe(0);
    machine.crash();
    await using again = await machine.open();
    for (let i = 0; i < 30; i++) {
      const volume = await again.open(`v${i}`, { data: BYTES });
      const bytes = await volume.read(({ data }) => data.read(0, 20_000));
      expect(bytes.every((byte) => byte === i)).toBe(true);
    }
  });

  it("goes on with a full disk as long as its log has room, and checkpoints when there is space again", async () => {
    const machine = new StoreMachine();
    await using store = await machine.open();
    const volume = await store.open("a", COUNTER);
    await volume.update(({ values }) => values.append(1));
    machine.disk.capacityBytes = 1;
    expect(await codeOf(store.checkpoint())).toBe("disk-full");
    expect(machine.warnings).toEqual(["disk-full"]);
    expect((await store.stats()).checkpoints.lastError).toContain("ENOSPC");
    await volume.update(({ values }) => values.append(2));
    await volume.close(); // its changes wait for the checkpoint that is tried again
    machine.disk.capacityBytes = Infinity;
    await machine.clock.advance(500);
    expect((await store.stats()).checkpoints).toMatchObject({ completed: 1, lastError: undefined });
    const again = await store.open("a", COUNTER);
    expect(await again.read(({ values }) => values.sum())).toBe(3);
  });

  it("refuses updates of a full disk without a trace once the log has no room", async () => {
    const machine = new StoreMachine();
    await using store = await machine.open();
    const volume = await store.open("a", { data: BYTES });
    machine.disk.capacityBytes = 1;
    let answered = 0;
    let code = "";
    for (let i = 0; i < 40 && code === ""; i++) {
      const ended = codeOf(volume.update(({ data }) => data.append(new Uint8Array(65_536))));
      await machine.clock.advance(5_000);
      if ((await ended) === "nothing was thrown") answered++;
      else code = await ended;
    }
    expect(code).toBe("disk-full");
    const length = await volume.read(({ data }) => data.lengthBytes);
    expect(length).toBe(answered * 65_536);
    machine.disk.capacityBytes = Infinity;
    await machine.clock.advance(10_000);
    await volume.update(({ data }) => data.append(new Uint8Array(1)));
    expect(await volume.read(({ data }) => data.lengthBytes)).toBe(length + 1);
  });

  it("names volume, extent and page of damage, and serves the others", async () => {
    const machine = new StoreMachine();
    let store = await machine.open();
    await fill(store, "bad", 64);
    await fill(store, "good", 64);
    await store.close();
    const { disk } = machine;
    const path = disk.paths().find((each) => each.includes("/state/")) as string;
    const found = Buffer.from(disk.contents(path)).indexOf(Buffer.alloc(4096, 7));
    disk.flipBit(path, (found + 20 * 4096) * 8);
    store = await machine.open();
    const opened = store.open("bad", { data: BYTES });
    await expect(opened).rejects.toMatchObject({
      code: "corruption",
      message: expect.stringContaining('volume "bad", extent "data", page 20'),
      details: { volume: "bad", extent: "data", page: 20 },
    });
    const cold = await store.open("bad", { data: BYTES }, { profile: "cold" });
    expect((await cold.read(({ data }) => data.read(0, 10)))[9]).toBe(7);
    expect(await codeOf(cold.read(({ data }) => data.read(20 * 4096, 1)))).toBe("corruption");
    const good = await store.open("good", { data: BYTES });
    await good.update(({ data }) => data.append(new Uint8Array(1)));
    expect(await good.read(({ data }) => data.lengthBytes)).toBe(64 * 4096 + 1);
    await store.close();
  });

  it("closes with updates under way: they are answered, later ones refused", async () => {
    const machine = new StoreMachine();
    const store = await machine.open();
    const volume = await store.open("a", COUNTER);
    const gate = Promise.withResolvers<void>();
    const running = volume.update(async ({ values }) => {
      await gate.promise;
      return values.append(1);
    });
    const waiting = volume.update(({ values }) => values.append(2));
    const read = volume.read(async ({ values }) => {
      await gate.promise;
      return values.length;
    });
    const closed = store.close();
    expect(await codeOf(volume.update(() => 0))).toBe("invalid-argument");
    expect(await codeOf(store.open("b", COUNTER))).toBe("log-closed");
    gate.resolve();
    await Promise.all([running, waiting, closed, store.close(), volume.close()]);
    expect(await read).toBe(0);
    await using again = await machine.open();
    const values = await again.open("a", COUNTER);
    expect(await values.read(({ values: v }) => v.sum())).toBe(3);
  });
});
