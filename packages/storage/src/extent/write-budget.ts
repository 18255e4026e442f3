/** What all extents of one turn may write together. */
import { PinionError } from "@pinion/core";

export const WRITE_SET_BYTES_MAX = 16 * 1024 * 1024;

export class WriteBudget {
  #left = WRITE_SET_BYTES_MAX;
  #refusal: PinionError | undefined;

  /** Why a write was refused, whoever has caught that. */
  get refusal(): PinionError | undefined {
    return this.#refusal;
  }

  refuse(error: PinionError): PinionError {
    return (this.#refusal ??= error);
  }

  /** @throws `write-set-too-large` */
  take(bytes: number): void {
    if (bytes > this.#left) throw this.refuse(writeSetTooLarge());
    this.#left -= bytes;
  }
}

export const writeSetTooLarge = (): PinionError =>
  new PinionError(
    "write-set-too-large",
    `a turn changes at most ${WRITE_SET_BYTES_MAX} bytes of pages in extents: spread the work over several calls`,
    { details: { limit: WRITE_SET_BYTES_MAX } },
  );
