/**
 * How much an extent is used: accesses that fade by half every half-life.
 *
 * The sum n of faded accesses is shown as n / (n + 1), so that thresholds are shares: heat 0.7 stands for 2.3 accesses that have not
 * faded yet, 0.9 for nine. All sums fade alike, so the order of two extents changes only when one of them is touched: `rank` is
 * the logarithm of n moved to time zero, a number that sorts by heat without knowing the time.
 */

export const HEAT_HALF_LIFE_MS = 60_000;

export class Heat {
  readonly #halfLifeMs: number;
  /** log2(n) + time of the sum in half-lives. */
  #rank = -Infinity;

  constructor(halfLifeMs: number = HEAT_HALF_LIFE_MS) {
    this.#halfLifeMs = halfLifeMs;
  }

  /** Higher is hotter, at any time. −Infinity: never touched. */
  get rank(): number {
    return this.#rank;
  }

  touch(nowMs: number, accesses = 1): void {
    const halfLives = nowMs / this.#halfLifeMs;
    // 2^rank itself would overflow after 1,024 half-lives; the faded sum cannot.
    this.#rank = Math.log2(this.#faded(halfLives) + accesses) + halfLives;
  }

  /** 0 … 1, exclusive. */
  at(nowMs: number): number {
    const sum = this.#faded(nowMs / this.#halfLifeMs);
    return sum / (sum + 1);
  }

  #faded(halfLives: number): number {
    return 2 ** (this.#rank - halfLives);
  }
}
