/** Who looks at something that may not go meanwhile. */
export class References {
  #count = 0;
  readonly #none: (() => void)[] = [];

  get count(): number {
    return this.#count;
  }

  add(): void {
    this.#count++;
  }

  drop(): void {
    if (--this.#count > 0) return;
    for (const resolve of this.#none.splice(0)) resolve();
  }

  /** Resolves once nobody looks at it. */
  whenNone(): Promise<void> {
    if (this.#count === 0) return Promise.resolve();
    return new Promise((resolve) => this.#none.push(resolve));
  }
}
