import { describe, expect, it } from "vitest";
import type { ExtentAccess } from "../extent/extent-access.ts";
import type { StructureDefinition } from "../structures/structure.ts";
import { ShardStore } from "../store/shard-store.ts";
import { codeOf, StoreMachine } from "./store.test.fixture.ts";
import type { Store } from "./store.ts";

const PAGE = 4096;
const DATA: StructureDefinition<ExtentAccess> = {
  kind: "blob",
  version: 1,
  options: { growBytes: 65_536, growChosen: false },
  open: (extent) => extent,
};

const write = async (store: Store, name: string, at: number, byte: number): Promise<void> => {
  const volume = await store.open(name, { data: DATA }, { profile: "cold" });
  await volume.update(({ data }) => data.write(at, Uint8Array.of(byte)));
  await volume.close();
};

async function byteOf(store: Store, name: string, at: number): Promise<number | undefined> {
  await using volume = await store.open(name, { data: DATA }, { profile: "cold" });
  return await volume.read(async ({ data }) => (await data.read(at, 1))[0]);
}

const BAD = 20 * PAGE;

/** A store on a disk that has damaged page 20 of "bad". No checkpoint has what the log has of that page, and of "good" and "other". */
async function damaged(): Promise<StoreMachine> {
  const machine = new StoreMachine();
  const store = await machine.open();
  for (const [i, name] of ["bad", "good", "other"].entries()) {
    const volume = await store.open(name, { data: DATA });
    await volume.update(({ data }) => void data.append(new Uint8Array(60 * PAGE).fill(200 + i)));
    await volume.close();
  }
  await store.checkpoint();
  for (const name of ["bad", "good", "other"]) {
    const volume = await store.open(name, { data: DATA }, { profile: "cold" });
    await volume.update(({ data }) => data.write(BAD + 5, Uint8Array.of(1)));
  }
  machine.crash();
  const path = machine.disk.paths().find((each) => each.includes("/state/")) as string;
  const found = Buffer.from(machine.disk.contents(path)).indexOf(Buffer.alloc(PAGE, 200));
  machine.disk.flipBit(path, (found + BAD) * 8);
  return machine;
}

describe("a damaged volume that the log has changes of", () => {
  it("is named by checkpoints, and the others go on", async () => {
    const machine = await damaged();
    let store = await machine.open({ checkpointDirtyBytes: 64 * 1024 });
    const good = await store.open("good", { data: DATA });
    await good.update(({ data }) => data.write(0, Uint8Array.of(2)));
    await expect(store.checkpoint()).rejects.toMatchObject({
      code: "corruption",
      message: expect.stringContaining('volume "bad"'),
      details: { volume: "bad" },
    });
    const { volumes, checkpoints } = await store.stats();
    expect(volumes).toMatchObject({ changed: 0, pending: 1, unwrittenBytes: 0 });
    expect(checkpoints).toMatchObject({ completed: 0, lastError: expect.stringContaining("bad") });
    expect(machine.warnings).toEqual(["corruption"]);
    // Far more than may wait for a checkpoint.
    for (let page = 0; page < 128; page++) {
      const updating = good.update(({ data }) => data.write(page * PAGE, Uint8Array.of(page)));
      await machine.clock.advance(10);
      await updating;
    }
    await good.close();
    expect(await codeOf(byteOf(store, "bad", BAD))).toBe("corruption");
    for (let life = 0; life < 3; life++) {
      machine.crash();
      store = await machine.open();
      expect(await byteOf(store, "good", 100 * PAGE)).toBe(100);
      expect(await byteOf(store, "other", BAD + 5)).toBe(1);
      expect(await codeOf(store.checkpoint())).toBe("corruption");
    }
    await store.close();
  });

  it("does not keep the store from checkpoints once it is deleted", async () => {
    const machine = await damaged();
    let store = await machine.open();
    expect(await codeOf(store.checkpoint())).toBe("corruption");
    expect(await store.delete("bad")).toBe(true);
    await store.checkpoint();
    expect((await store.stats()).checkpoints).toMatchObject({
      completed: 1,
      lastError: undefined,
      logBytesSince: 0,
    });
    machine.crash();
    store = await machine.open();
    expect((await store.stats()).volumes.pending).toBe(0);
    expect(await store.volumes()).toEqual(["good", "other"]);
    expect(await byteOf(store, "other", BAD + 5)).toBe(1);
    await store.close();
  });

  it("does not bring back what others have deleted and written anew", async () => {
    const machine = await damaged();
    let store = await machine.open();
    await store.delete("other");
    await write(store, "other", 3, 33);
    await store.delete("good");
    for (let life = 0; life < 3; life++) {
      expect(await codeOf(store.checkpoint())).toBe("corruption");
      expect(await store.volumes()).toEqual(["bad", "other"]);
      const other = await store.open("other", { data: DATA });
      expect(await other.read(({ data }) => data.lengthBytes)).toBe(4 + life);
      await other.update(({ data }) => void data.append(Uint8Array.of(life)));
      machine.crash();
      store = await machine.open();
    }
    await store.close();
  });

  it("does not start a checkpoint with every change when the log has grown long", async () => {
    const machine = await damaged();
    const store = await machine.open({ checkpointLogBytes: 64 * 1024 });
    const good = await store.open("good", { data: DATA });
    for (let i = 0; i < 100; i++) {
      await good.update(({ data }) => data.write(0, new Uint8Array(PAGE).fill(i)));
      await machine.clock.advance(1);
    }
    expect(machine.warnings.length).toBeGreaterThan(2);
    expect(machine.warnings.length).toBeLessThan(15);
    await store.close();
  });
});

describe("a volume with a damaged map", () => {
  /** The log has pages behind the end of all three: nothing of what is stored has to be read for them. */
  async function damagedMap(): Promise<{ machine: StoreMachine; store: Store }> {
    const machine = new StoreMachine();
    let store = await machine.open();
    for (const name of ["bad", "good", "other"]) {
      const volume = await store.open(name, { data: DATA });
      await volume.update(({ data }) => void data.append(new Uint8Array(60 * PAGE).fill(7)));
      await volume.close();
    }
    await store.close();
    const path = machine.disk.paths().find((each) => each.includes("/state/")) as string;
    const shard = await ShardStore.open({
      disk: machine.disk,
      dir: path.slice(0, path.lastIndexOf("/")),
      newGeneration: () => 1,
    });
    const entry = await (await shard.holdVolume(16))?.map.entryOfNode(0, 0);
    machine.disk.flipBit(path, ((entry as { page: number }).page * PAGE + 64) * 8);
    store = await machine.open();
    return { machine, store };
  }

  const grow = async (store: Store, name: string, byte: number): Promise<void> => {
    const volume = await store.open(name, { data: DATA }, { profile: "cold" });
    await volume.update(({ data }) => void data.append(new Uint8Array(PAGE).fill(byte)));
    await volume.close();
  };
  const END = 60 * PAGE;

  it("is named by checkpoints while it is open, and the others go on", async () => {
    const { machine, store } = await damagedMap();
    const bad = await store.open("bad", { data: DATA }, { profile: "cold" });
    for (let round = 0; round < 3; round++) {
      await bad.update(({ data }) => void data.append(new Uint8Array(PAGE).fill(round)));
      for (const name of ["good", "other"]) await grow(store, name, round);
      await expect(store.checkpoint()).rejects.toMatchObject({
        code: "corruption",
        message: expect.stringContaining('volume "bad"'),
        details: { volume: "bad" },
      });
      expect((await store.stats()).volumes).toMatchObject({
        changed: 1,
        unwrittenBytes: (round + 1) * PAGE,
      });
    }
    expect(await bad.read(({ data }) => data.lengthBytes)).toBe(END + 3 * PAGE);
    machine.crash();
    const next = await machine.open();
    for (const name of ["bad", "good", "other"])
      expect(await byteOf(next, name, END + 2 * PAGE), name).toBe(2);
    await next.close();
  });

  it("is named by checkpoints after a start, until it is deleted", async () => {
    const { machine, store: before } = await damagedMap();
    for (const name of ["bad", "good", "other"]) {
      const volume = await before.open(name, { data: DATA }, { profile: "cold" });
      await volume.update(({ data }) => void data.append(new Uint8Array(PAGE).fill(9)));
    }
    machine.crash();
    const store = await machine.open();
    for (let round = 0; round < 2; round++) {
      expect(await codeOf(store.checkpoint())).toBe("corruption");
      expect((await store.stats()).volumes).toMatchObject({ pending: 1, unwrittenBytes: 0 });
    }
    expect(await store.delete("bad")).toBe(true);
    await store.checkpoint();
    expect((await store.stats()).checkpoints).toMatchObject({ completed: 1, logBytesSince: 0 });
    await store.close();
    const next = await machine.open();
    expect(await next.volumes()).toEqual(["good", "other"]);
    expect(await byteOf(next, "good", END)).toBe(9);
    await next.close();
  });

  it("can be deleted when it was closed, and is not opened with less than it has", async () => {
    const { machine, store } = await damagedMap();
    await grow(store, "bad", 1);
    await grow(store, "good", 1);
    expect(await codeOf(store.open("bad", { data: DATA }))).toBe("corruption");
    const opening = codeOf(store.open("bad", { data: DATA }));
    expect(await codeOf(store.checkpoint())).toBe("corruption");
    expect(await opening).toBe("corruption");
    expect(await store.delete("bad")).toBe(true);
    expect((await store.stats()).volumes).toMatchObject({ changed: 0, unwrittenBytes: 0 });
    await store.checkpoint();
    await grow(store, "bad", 3);
    await store.checkpoint();
    machine.crash();
    const next = await machine.open();
    expect(await byteOf(next, "bad", 0)).toBe(3);
    expect(await byteOf(next, "good", END)).toBe(1);
    await next.close();
  });
});
