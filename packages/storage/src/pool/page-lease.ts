/** A page in use. */
import { assert } from "@pinion/core";
import { NO_FRAME, type FrameTable } from "./frame-table.ts";

/** A page that stays where it is until it is released. Its bytes must not be changed. */
export interface PageLease {
  readonly key: number;
  readonly bytes: Uint8Array;
  /** Exactly once; the bytes are somebody else's afterwards. */
  release(): void;
}

export class FrameLease implements PageLease {
  readonly key: number;
  readonly bytes: Uint8Array;
  readonly #table: FrameTable;
  #frame: number;

  /** Takes over a reference. */
  constructor(table: FrameTable, frame: number, key: number, bytes: Uint8Array) {
    this.#table = table;
    this.#frame = frame;
    this.key = key;
    this.bytes = bytes;
  }

  release(): void {
    assert(this.#frame !== NO_FRAME, "a page was released twice");
    this.#table.release(this.#frame);
    this.#frame = NO_FRAME;
  }
}
