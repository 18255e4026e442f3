/**
 * The native door over the addon (native/pinion.c): two threads of our own instead of the thread pool, one trip an
 * operation.
 *
 * State: a slot for every operation under way, which keeps its buffer alive (NativeDoor I2), and a queue for each lane of
 * operations that found it full.
 *
 * I1 a slot is reused only after the addon has reported it.
 * I2 a lane never holds more than `LANE_OPERATIONS_MAX` operations; the rest wait here, in order. What bounds that queue is
 *    that callers await what they start: a log has one write under way, a file one.
 */
import { getSystemErrorMessage, getSystemErrorName } from "node:util";
import { assert, PinionError } from "@pinion/core";
import type { NativeDoor } from "./native-door.ts";

/** What native/pinion.c exports. */
export interface Addon {
  start(callback: (count: number) => void, results: Int32Array): void;
  submit(
    lane: number,
    slot: number,
    kind: number,
    fd: number,
    bytes: Uint8Array | number,
    offset: number,
    generation: number,
    sync: boolean,
  ): void;
  crc32c(bytes: Uint8Array, seed: number): number;
  /** Bytes read, or −errno. */
  readNow(fd: number, bytes: Uint8Array, offset: number): number;
  tryLock(fd: number): number;
}

/** The ring of a lane in pinion.c. */
const LANE_OPERATIONS_MAX = 256;
const LANES = 2;
/** Flushes of the log: nothing slow goes here. */
const LOG_LANE = 0;
const BULK_LANE = 1;

const KIND_ALLOCATE = 0;
const KIND_WRITE = 1;
const KIND_SEAL_AND_WRITE = 2;
const KIND_FLUSH = 3;
/** Result of a sealed write whose buffer is not a run of whole records. Other results are 0 or −errno. */
const NOT_RECORDS = 1;

const SYSCALLS = ["fallocate", "write", "write", "fdatasync"] as const;

interface Operation {
  readonly lane: number;
  readonly kind: number;
  readonly fd: number;
  /** Kept alive until the operation has ended. A byte count where nothing is written. */
  readonly bytes: Uint8Array | number;
  readonly offset: number;
  readonly generation: number;
  readonly sync: boolean;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class AddonDoor implements NativeDoor {
  readonly kind = "addon";
  readonly degraded = undefined;
  readonly #addon: Addon;
  readonly #results = new Int32Array(2 * LANES * LANE_OPERATIONS_MAX);
  readonly #slots: (Operation | undefined)[] = Array.from({
    length: LANES * LANE_OPERATIONS_MAX,
  });
  readonly #freeSlots: number[] = this.#slots.map((_, slot) => slot);
  readonly #running: number[] = [0, 0];
  readonly #waiting: Operation[][] = [[], []];

  constructor(addon: Addon) {
    this.#addon = addon;
    addon.start((count) => this.#complete(count), this.#results);
  }

  allocate(fd: number, offset: number, byteCount: number, written: boolean): Promise<void> {
    return this.#start(BULK_LANE, KIND_ALLOCATE, fd, byteCount, offset, 0, written);
  }

  writeAndFlush(fd: number, bytes: Uint8Array, offset: number, sync: boolean): Promise<void> {
    return this.#start(BULK_LANE, KIND_WRITE, fd, bytes, offset, 0, sync);
  }

  sealAndWrite(
    fd: number,
    bytes: Uint8Array,
    offset: number,
    sync: boolean,
    generation: number,
  ): Promise<void> {
    return this.#start(LOG_LANE, KIND_SEAL_AND_WRITE, fd, bytes, offset, generation, sync);
  }

  readNow(fd: number, into: Uint8Array, offset: number): boolean {
    return this.#addon.readNow(fd, into, offset) === into.length;
  }

  flush(fd: number): Promise<void> {
    return this.#start(BULK_LANE, KIND_FLUSH, fd, 0, 0, 0, true);
  }

  crc32c(bytes: Uint8Array, seed = 0): number {
    return this.#addon.crc32c(bytes, seed);
  }

  tryLock(fd: number): boolean | undefined {
    const errno = this.#addon.tryLock(fd);
    if (errno === 0) return true;
    const name = getSystemErrorName(-errno);
    // A file system without locks says so; everything else is somebody else's lock.
    return name === "ENOLCK" || name === "EOPNOTSUPP" || name === "ENOSYS" ? undefined : false;
  }

  #start(
    lane: number,
    kind: number,
    fd: number,
    bytes: Uint8Array | number,
    offset: number,
    generation: number,
    sync: boolean,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const operation = { lane, kind, fd, bytes, offset, generation, sync, resolve, reject };
      if ((this.#running[lane] as number) < LANE_OPERATIONS_MAX) this.#submit(operation);
      else (this.#waiting[lane] as Operation[]).push(operation);
    });
  }

  #submit(operation: Operation): void {
    const { lane, kind, fd, bytes, offset, generation, sync } = operation;
    const slot = this.#freeSlots.pop();
    assert(slot !== undefined, "more operations under way than slots");
    this.#addon.submit(lane, slot, kind, fd, bytes, offset, generation, sync);
    this.#slots[slot] = operation;
    this.#running[lane] = (this.#running[lane] as number) + 1;
  }

  #complete(count: number): void {
    // First free everything, so that what a continuation starts finds room.
    const ended: { operation: Operation; result: number }[] = [];
    for (let i = 0; i < count; i++) {
      const slot = this.#results[2 * i] as number;
      const operation = this.#slots[slot];
      assert(operation, `slot ${slot} completed twice`);
      this.#slots[slot] = undefined;
      this.#freeSlots.push(slot);
      this.#running[operation.lane] = (this.#running[operation.lane] as number) - 1;
      ended.push({ operation, result: this.#results[2 * i + 1] as number });
    }
    for (const { operation, result } of ended) {
      const next = this.#waiting[operation.lane]?.shift();
      if (next) this.#submit(next);
      if (result === 0) operation.resolve();
      else operation.reject(errorOf(operation.kind, result));
    }
  }
}

function errorOf(kind: number, result: number): Error {
  if (result === NOT_RECORDS) {
    return new PinionError(
      "internal",
      "assertion failed: a batch to be sealed is not a run of whole log records",
    );
  }
  const code = getSystemErrorName(result);
  const syscall = SYSCALLS[kind] as string;
  return Object.assign(new Error(`${code}: ${getSystemErrorMessage(result)}, ${syscall}`), {
    code,
    errno: result,
    syscall,
  });
}
