/** Waiting for what has no event: asks again and again until a deadline, and then says what it saw last. */
import { setTimeout as delay } from "node:timers/promises";

const PAUSE_MS = 20;

/** @param look throws, or returns undefined, while it is not so yet. */
export async function eventually<T>(
  what: string,
  look: () => T | undefined | Promise<T | undefined>,
  msMax = 20_000,
): Promise<T> {
  const endMs = performance.now() + msMax;
  let last: unknown = "nothing";
  for (;;) {
    try {
      const value = await look();
      if (value !== undefined) return value;
    } catch (error) {
      last = error;
    }
    if (performance.now() > endMs)
      throw new Error(`${what}: not within ${msMax} ms`, { cause: last });
    await delay(PAUSE_MS);
  }
}
