/**
 * How many operations of each ledger were acknowledged, as a block on the disk: the guest writes it again, over the last one, after each
 * acknowledgement, so that the write log has acknowledgements and writes in one order.
 *
 *     0   u32  magic
 *     4   u32  acknowledged operations, all together
 *     8   u32  of each ledger of the first subject, then of the second (little-endian)
 */
import { LEDGERS } from "./ledger.ts";
import { SUBJECTS, type SubjectName } from "./subject-names.ts";

export const MARK_BYTES = 512;
const MAGIC = 0x4b43_4150;
const COUNTS_AT = 8;

const placeOf = (subject: SubjectName, ledger: number): number =>
  COUNTS_AT + 4 * (SUBJECTS.indexOf(subject) * LEDGERS + ledger);

export class Marks {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  /** @param bytes one block, of zeroes to begin with */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, MARK_BYTES);
  }

  get isWritten(): boolean {
    return this.#view.getUint32(0, true) === MAGIC;
  }

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  get total(): number {
    return this.#view.getUint32(4, true);
  }

  of(subject: SubjectName, ledger: number): number {
    return this.#view.getUint32(placeOf(subject, ledger), true);
  }

  acknowledged(subject: SubjectName, ledger: number, operation: number): void {
    this.#view.setUint32(0, MAGIC, true);
    this.#view.setUint32(4, this.total + 1, true);
    this.#view.setUint32(placeOf(subject, ledger), operation, true);
  }
}
