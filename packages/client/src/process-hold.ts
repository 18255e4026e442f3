/**
 * Keeps the process alive while somebody waits for an answer and there is no socket to do it: between a lost connection and
 * the next one, only timers of the `Clock` run, and they let the process end. Without this, a script whose host restarts
 * would end silently in the middle of an `await`.
 */
export class ProcessHold {
  #handle: NodeJS.Timeout | undefined;

  set(hold: boolean): void {
    if (hold === (this.#handle !== undefined)) return;
    if (hold) this.#handle = setInterval(() => {}, 2 ** 30);
    else {
      clearInterval(this.#handle);
      this.#handle = undefined;
    }
  }
}
