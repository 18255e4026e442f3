/**
 * Reading state: what a method of a resident actor pays for 100 bytes of it, and what the same read costs from LMDB, which
 * copies it out of its file. Both in this process; `KEYS` values each, read in the same random order.
 *
 * get-100b   the read alone: a method that is running reads a `Map` in its state.
 * call-100b  a readonly call from a client in the same process for each value, for comparison: what the turn costs.
 */
import { join } from "node:path";
import { defineActor, readonly, startHost, type Host } from "@pinion/runtime";
import { open as openLmdb, type RootDatabase } from "lmdb";
import { perSecond, type BenchCase, type BenchSuite, type Contender } from "../harness.ts";

const KEYS = 5_000;
const GETS = 1_000_000;
const CALLS = 200_000;
const VALUE_BYTES = 100;
const STRIDE = 3_571; // a prime: visits all keys, no two neighbours in a row

const keyOf = (i: number): string => `key-${i}`;
const KEY_NAMES = Array.from({ length: KEYS }, (_, i) => keyOf(i));
const valueOf = (i: number): Uint8Array => new Uint8Array(VALUE_BYTES).fill(i);

/** The sum is what keeps a compiler from leaving the reads out. */
const Shelf = defineActor("shelf", {
  state: () => ({ values: new Map(KEY_NAMES.map((key, i) => [key, valueOf(i)])) }),
  methods: {
    sum: readonly((ctx, gets: number) => {
      const { values } = ctx.state;
      let sum = 0;
      for (let i = 0, at = 0; i < gets; i++, at = (at + STRIDE) % KEYS) {
        sum += (values.get(KEY_NAMES[at] as string) as Uint8Array)[7] as number;
      }
      return sum;
    }),
    get: readonly((ctx, key: string) => ctx.state.values.get(key)),
  },
});

export const suite: BenchSuite = {
  name: "state",
  cases({ dir, scale }) {
    const gets = GETS * scale;
    const calls = CALLS * scale;
    let shelf: Shelves;
    const bench = (name: string, subject: Contender, count: number): BenchCase => ({
      name,
      unit: "gets/s",
      better: "higher",
      subject,
      floor: () => Promise.resolve(shelf.sumOfLmdb(count)),
      setUp: async () => {
        shelf = await Shelves.open(join(dir, name));
        return () => shelf.close();
      },
    });
    return [
      bench("get-100b", () => shelf.sumInTurn(gets), gets),
      bench("call-100b", () => shelf.sumByCalls(calls), calls),
    ];
  },
};

type Database = RootDatabase<Uint8Array, string>;

class Shelves {
  readonly #host: Host;
  readonly #db: Database;

  private constructor(host: Host, db: Database) {
    this.#host = host;
    this.#db = db;
  }

  static async open(dir: string): Promise<Shelves> {
    const db: Database = openLmdb({ path: join(dir, "lmdb"), encoding: "binary" });
    await db.transaction(() => KEY_NAMES.forEach((key, i) => void db.put(key, valueOf(i))));
    const host = await startHost({
      actors: [Shelf],
      dataDir: join(dir, "host"),
      port: 0,
      adminPort: 0,
      logLevel: "warn",
    });
    return new Shelves(host, db);
  }

  get #ref() {
    return this.#host.client.get(Shelf, "one");
  }

  async sumInTurn(gets: number): Promise<{ value: number }> {
    await this.#ref.sum(1_000);
    const startMs = performance.now();
    await this.#ref.sum(gets);
    return perSecond(gets, startMs);
  }

  async sumByCalls(calls: number): Promise<{ value: number }> {
    const ref = this.#ref;
    let left = calls;
    const startMs = performance.now();
    const caller = async (at: number): Promise<void> => {
      while (left-- > 0) {
        await ref.get(KEY_NAMES[at] as string);
        at = (at + STRIDE) % KEYS;
      }
    };
    await Promise.all(Array.from({ length: 64 }, (_, i) => caller(i)));
    return perSecond(calls, startMs);
  }

  sumOfLmdb(gets: number): { value: number } {
    const startMs = performance.now();
    let sum = 0;
    for (let i = 0, at = 0; i < gets; i++, at = (at + STRIDE) % KEYS) {
      sum += (this.#db.getBinary(KEY_NAMES[at] as string) as Uint8Array)[7] as number;
    }
    if (sum < 0) throw new Error("unreachable");
    return perSecond(gets, startMs);
  }

  async close(): Promise<void> {
    await this.#host.stop();
    await this.#db.close();
  }
}
