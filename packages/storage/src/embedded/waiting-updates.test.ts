/** What happens beside an update whose record waits for room in the log, and to what is handed out. */
import { beforeEach, describe, expect, it } from "vitest";
import { bytes } from "../structures/bytes.ts";
import { codeOf, StoreMachine } from "./store.test.fixture.ts";
import type { Store } from "./store.ts";
import type { Volume } from "./volume.ts";

const DATA = { data: bytes() };

let machine: StoreMachine;
let store: Store;
let volume: Volume<typeof DATA>;
let other: Volume<typeof DATA>;

async function driven<T>(work: Promise<T>): Promise<T> {
  for (let i = 0; i < 100; i++) await machine.clock.advance(50);
  return work;
}

beforeEach(async () => {
  machine = new StoreMachine();
  store = await machine.open();
  volume = await store.open("a", DATA);
  other = await store.open("b", DATA);
  await driven(volume.update(({ data }) => data.write(0, new Uint8Array(4_096).fill(1))));
});

/** More than the log's buffers hold. */
function fillLog(): Promise<string>[] {
  return Array.from({ length: 6 }, () =>
    codeOf(other.update(({ data }) => data.append(new Uint8Array(65_536)))),
  );
}

const firstBytes = async (): Promise<number[]> => [
  ...(await volume.read(({ data }) => data.read(0, 4))),
];

async function firstBytesAfterCrash(): Promise<number[]> {
  machine.crash(1);
  store = await machine.open();
  volume = await store.open("a", DATA);
  return firstBytes();
}

describe("beside an update whose record waits for room", () => {
  it("others of the same caller are not inside it", async () => {
    const ended = Array.from({ length: 400 }, (_, i) =>
      codeOf(
        (i % 2 === 0 ? volume : other).update(({ data }) => data.append(new Uint8Array(65_536))),
      ),
    );
    expect(new Set(await driven(Promise.all(ended)))).toEqual(new Set(["nothing was thrown"]));
    void fillLog();
    expect(await driven(codeOf(store.close()))).toBe("nothing was thrown");
  });

  it("what it did not await writes no more", async () => {
    void fillLog();
    let late = "";
    const updated = volume.update(({ data }) => {
      void data.write(0, new Uint8Array(8).fill(2));
      void data.write(16, new Uint8Array(8).fill(2));
      queueMicrotask(() => {
        void codeOf((async () => data.write(0, new Uint8Array(8).fill(9)))()).then(
          (code) => (late = code),
        );
      });
    });
    await driven(updated);
    expect(late).toBe("view-expired");
    expect(await firstBytes()).toEqual([2, 2, 2, 2]);
    expect(await firstBytesAfterCrash()).toEqual([2, 2, 2, 2]);
  });

  it("records that wait are each their own", async () => {
    const third = await store.open("c", DATA);
    await driven(third.update(({ data }) => data.write(0, new Uint8Array(4_096))));
    void fillLog();
    const updates = [
      volume.update(({ data }) => data.write(0, new Uint8Array(8).fill(2))),
      third.update(({ data }) => data.write(0, new Uint8Array(8).fill(7))),
    ];
    await driven(Promise.all(updates));
    expect(await firstBytes()).toEqual([2, 2, 2, 2]);
    expect(await firstBytesAfterCrash()).toEqual([2, 2, 2, 2]);
  });

  it("a range that somebody has kept changes nothing", async () => {
    void fillLog();
    let kept = new Uint8Array(0);
    const updated = volume.update(({ data }) =>
      data.update(0, 8, (range) => {
        kept = range as typeof kept;
        range.fill(2);
      }),
    );
    kept.fill(9);
    await driven(updated);
    expect(await firstBytes()).toEqual([2, 2, 2, 2]);
    expect(await firstBytesAfterCrash()).toEqual([2, 2, 2, 2]);
  });
});

it("what is read cannot be transferred together with what others have read", async () => {
  const mine = await volume.read(({ data }) => data.read(0, 8));
  const transfer = [mine.buffer as ArrayBuffer];
  expect(() => structuredClone(mine, { transfer })).toThrow(/transfer/);
  expect(structuredClone(mine)).toEqual(new Uint8Array(8).fill(1));
  expect(await firstBytes()).toEqual([1, 1, 1, 1]);
});

it("a Buffer that is written where pages have to come first is copied", async () => {
  await driven(volume.close());
  const cold = await store.open("a", DATA, { profile: "cold" });
  const mine = Buffer.alloc(8, 5);
  const updated = cold.update(async ({ data }) => {
    const writing = data.write(4_000, mine);
    mine.fill(9);
    await writing;
  });
  await driven(updated);
  expect([...(await cold.read(({ data }) => data.read(4_000, 8)))]).toEqual(Array(8).fill(5));
});
