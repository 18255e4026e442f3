/**
 * The index of a worker's log, whose thread is begun before the data directory is locked: it loads its code meanwhile, which is what takes the
 * time. Nothing of the file is touched before `open`.
 */
import { PinionError } from "@pinion/core";
import { LmdbKv } from "@pinion/storage";

export class IndexStart {
  readonly #folder = Promise.withResolvers<void>();
  readonly #opening: Promise<LmdbKv>;

  constructor(path: string) {
    this.#opening = LmdbKv.open(path, this.#folder.promise);
    this.#opening.catch(() => {}); // told to whoever opens
  }

  /** @param folder resolves when the file's folder exists @throws as `LmdbKv.open` */
  open(folder: Promise<void>): Promise<LmdbKv> {
    folder.then(this.#folder.resolve, this.#folder.reject);
    return this.#opening;
  }

  /** Ends the thread, whether it was opened or not. Never rejects. */
  async close(): Promise<void> {
    this.#folder.reject(new PinionError("unavailable", "the host does not start"));
    await this.#opening.then(
      (index) => index.close(),
      () => {},
    );
  }
}
