/** Callbacks that are called in the order of their subscription. */

export class Listeners<T> {
  /** Replaced, never changed, so that a listener may subscribe or leave while it is called. */
  #all: readonly ((event: T) => void)[] = [];

  /** @returns takes the subscription back; harmless when repeated. */
  add(listener: (event: T) => void): () => void {
    const own = (event: T): void => listener(event);
    this.#all = [...this.#all, own];
    return () => {
      this.#all = this.#all.filter((other) => other !== own);
    };
  }

  /** A listener that throws is a bug of its own and stops neither the others nor the log: its error surfaces as an uncaught one. */
  call(event: T): void {
    for (const listener of this.#all) {
      try {
        listener(event);
      } catch (e) {
        queueMicrotask(() => {
          throw e;
        });
      }
    }
  }
}
