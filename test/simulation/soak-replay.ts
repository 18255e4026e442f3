/** What a soak that fails says: where it was, and the command that goes there again. */
import { messageOf } from "@pinion/core";

/** `turns`: structure-soak.ts; `volumes`: volume-soak.ts. */
export const SOAK_LEVELS = ["turns", "volumes"] as const;
export type SoakLevel = (typeof SOAK_LEVELS)[number];

/** How far a world has come. */
export interface Place {
  life: number;
  turn: number;
}

/** @throws what `run` throws, with its place and the command that replays it */
export async function replayable<R>(
  level: SoakLevel,
  seed: number,
  run: (place: Place) => Promise<R>,
): Promise<R> {
  const place = { life: 0, turn: 0 };
  try {
    return await run(place);
  } catch (cause) {
    throw new Error(
      `seed ${seed}, life ${place.life}, turn ${place.turn}: ${messageOf(cause)}\n` +
        `  replay: pnpm soak:structures --level ${level} --seed ${seed} --worlds 1`,
      { cause },
    );
  }
}
