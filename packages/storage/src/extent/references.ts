/**
 * Who looks at something that may not go meanwhile.
 *
 * F1 `whenNone` waits for those that looked when it was called, and for nobody who came later: they look at what is there now. Where readers
 *    overlap, there is never nobody.
 */
export class References {
  #count = 0;
  #now = new Lookers();
  /** Those that somebody waits for, the oldest first. */
  readonly #awaited: Lookers[] = [];

  get count(): number {
    return this.#count;
  }

  /** @returns what `drop` needs */
  add(): Lookers {
    this.#count++;
    this.#now.count++;
    return this.#now;
  }

  drop(of: Lookers): void {
    this.#count--;
    if (--of.count > 0) return;
    while (this.#awaited[0]?.count === 0) this.#awaited.shift()?.gone();
  }

  /** Resolves once nobody looks any more who does now. */
  whenNone(): Promise<void> {
    if (this.#count === 0) return Promise.resolve();
    const lookers = this.#now;
    this.#now = new Lookers();
    return new Promise((resolve) => {
      lookers.gone = resolve;
      this.#awaited.push(lookers);
    });
  }
}

/** Those who came between one `whenNone` and the next. */
class Lookers {
  count = 0;
  gone = (): void => {};
}

export type { Lookers };
