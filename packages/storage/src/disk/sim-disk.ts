/**
 * A disk in memory that fails the way disks do, by seed: unsynced sectors are lost or torn at a crash, names vanish whose
 * folder was not synced, operations return EIO and ENOSPC, a failed sync drops data for good, bits flip.
 *
 * A test holds one per machine. It runs the code under test, cuts at an operation of its choice (`onOperation`), and goes on
 * with the disk that `crash()` returns:
 *
 *     const disk = new SimDisk({ rng });
 *     disk.onOperation = ({ index }) => { if (index === cut) next = disk.crash(); };
 *
 * I1 operations of one file take effect in order, each in a later microtask or after its latency on the clock.
 * I2 a write under way at a crash may have reached the disk in part, its sync flag notwithstanding.
 * I3 `bytes` of a write must not change until it has resolved; a caller that breaks this gets an `internal` error.
 */
import { assert, type Rng } from "@pinion/core";
import { diskError, systemError } from "./disk-error.ts";
import type { CreateOptions, Disk, DiskFile } from "./disk.ts";
import { sealed, SimDiskFile, type SimWrite } from "./sim-disk-file.ts";
import { SimFileImage } from "./sim-file-image.ts";
import { normalPath, SimNames } from "./sim-names.ts";
import {
  SimOperations,
  type SimFaultRule,
  type SimOperation,
  type SimOperationKind,
  type SimOptions,
  type SimQueue,
} from "./sim-operations.ts";

export interface SimDiskOptions extends SimOptions {
  /** Bytes the disk holds; default unlimited. */
  readonly capacityBytes?: number;
  /** Chance that the system has what is read in memory, so that `readNow` answers; default 0. */
  readonly inMemoryRate?: number;
}

export interface SimCrashOptions {
  /** Chance that an unsynced sector or name survives. Default: by seed all, none or a part. */
  readonly survivalRate?: number;
  /** Chance that a surviving unsynced sector is torn; default 0.02. */
  readonly tornRate?: number;
}

const TORN_RATE = 0.02;

export class SimDisk implements Disk {
  /** Bytes the disk holds; may be changed at any time to fill the disk or make room. */
  capacityBytes: number;
  /** While true, every change is refused as on a file system that was mounted read-only. */
  readOnly = false;
  readonly #options: SimDiskOptions;
  readonly #operations: SimOperations;
  readonly #rng: Rng;
  readonly #names: SimNames;
  readonly #nameQueue: SimQueue;
  readonly #issued = new Set<SimWrite>();

  constructor(options: SimDiskOptions, names: SimNames = new SimNames()) {
    this.#options = options;
    this.#operations = new SimOperations(options);
    this.#rng = options.rng.fork("disk");
    this.#names = names;
    this.#nameQueue = this.#operations.queue();
    this.capacityBytes = options.capacityBytes ?? Infinity;
  }

  /** Called just before an operation takes effect. */
  get onOperation(): ((operation: SimOperation) => void) | undefined {
    return this.#operations.onOperation;
  }
  set onOperation(hook: ((operation: SimOperation) => void) | undefined) {
    this.#operations.onOperation = hook;
  }

  /** Operations so far. */
  get operationCount(): number {
    return this.#operations.count;
  }

  /** Makes chosen operations fail. @returns takes the rule away again. */
  fail(rule: SimFaultRule): () => void {
    return this.#operations.fail(rule);
  }

  setErrorRates(rates: Partial<Record<SimOperationKind, number>>): void {
    this.#operations.errorRates = rates;
  }

  clearFaults(): void {
    this.#operations.clearFaults();
  }

  /** Stops this disk: nothing takes effect or settles any more. */
  halt(): void {
    this.#operations.halt();
  }

  /** Cuts the power: stops this disk and returns what the machine finds when it is back. No faults are armed in it. */
  crash(options: SimCrashOptions = {}): SimDisk {
    const image = this.crashImage(options);
    this.halt();
    return image;
  }

  /** What `crash` would return, while this disk goes on. Differs from call to call. */
  crashImage(options: SimCrashOptions = {}): SimDisk {
    const rate = options.survivalRate ?? this.#rng.pick([0, 0.1, 0.5, 0.9, 1]);
    const copy = this.#withIssued(rate);
    return this.#successor(
      copy.afterCrash({ rng: this.#rng, rate, tornRate: options.tornRate ?? TORN_RATE }),
    );
  }

  /** Kills the process but not the machine (SIGKILL): what was written stays readable, and stays unsynced. */
  kill(): SimDisk {
    const names = this.#withIssued(this.#rng.float());
    this.halt();
    return this.#successor(names);
  }

  /** Flips one bit of a file, in memory and on the platter. @param bit counted from the start of the file, lowest of a byte first */
  flipBit(path: string, bit: number): void {
    const file = this.#names.get(normalPath(path), "flip");
    assert(bit < file.size * 8, `bit ${bit} is beyond the end of ${path}`);
    file.flipBit(bit);
  }

  /** Flips a bit the seed chooses among non-empty files whose path contains `pathPart`. @returns where */
  flipRandomBit(pathPart = ""): { path: string; bit: number } | undefined {
    const files = this.#names
      .all()
      .filter(([path, file]) => path.includes(pathPart) && file.size > 0);
    if (files.length === 0) return undefined;
    const [path, file] = this.#rng.pick(files);
    const bit = this.#rng.below(file.size) * 8 + this.#rng.below(8);
    file.flipBit(bit);
    return { path, bit };
  }

  /** Bytes of a file as a reader would see them, for assertions. */
  contents(path: string): Uint8Array {
    const file = this.#names.get(normalPath(path), "read");
    const bytes = new Uint8Array(file.size);
    file.read(0, bytes);
    return bytes;
  }

  /** Paths of all files, sorted. */
  paths(): string[] {
    return this.#names.all().map(([path]) => path);
  }

  create(path: string, options: CreateOptions = {}): Promise<DiskFile> {
    return this.#named("create", path, (at) => {
      const { allocateBytes = 0 } = options;
      this.#needWritable("create", at);
      this.#needRoom(allocateBytes, at);
      const file = new SimFileImage();
      this.#names.create(at, file);
      file.allocate(allocateBytes);
      return this.#handle(at, file, false);
    });
  }

  open(path: string, options: { readOnly?: boolean } = {}): Promise<DiskFile> {
    return this.#named("open", path, (at) => {
      const file = this.#names.get(at, "open");
      if (!options.readOnly) this.#needWritable("open", at);
      return this.#handle(at, file, options.readOnly ?? false);
    });
  }

  list(dir: string): Promise<string[]> {
    return this.#named("list", dir, (at) => this.#names.list(at));
  }

  mkdir(dir: string): Promise<void> {
    return this.#named("mkdir", dir, (at) => {
      this.#needWritable("mkdir", at);
      this.#names.mkdir(at);
    });
  }

  rename(from: string, to: string): Promise<void> {
    return this.#named("rename", from, (at) => {
      this.#needWritable("rename", at);
      this.#names.rename(at, normalPath(to));
    });
  }

  remove(path: string): Promise<void> {
    return this.#named("remove", path, (at) => {
      this.#needWritable("remove", at);
      this.#names.remove(at);
    });
  }

  syncDir(dir: string): Promise<void> {
    return this.#named("syncDir", dir, (at) => this.#names.syncDir(at));
  }

  freeBytes(dir: string): Promise<number> {
    return this.#named("freeBytes", dir, () => Math.max(0, this.capacityBytes - this.#usedBytes()));
  }

  #named<T>(kind: SimOperationKind, path: string, effect: (normal: string) => T): Promise<T> {
    const normal = normalPath(path);
    return this.#nameQueue.run(async () => {
      try {
        await this.#operations.begin(kind, normal, 0);
        return effect(normal);
      } catch (e) {
        throw diskError(e, kind, normal);
      }
    });
  }

  #handle(path: string, file: SimFileImage, readOnly: boolean): DiskFile {
    return new SimDiskFile(path, file, {
      operations: this.#operations,
      rng: this.#rng,
      issued: this.#issued,
      isInMemory: () => {
        const { inMemoryRate = 0 } = this.#options;
        return inMemoryRate > 0 && !this.#operations.halted && this.#rng.chance(inMemoryRate);
      },
      needWritable: () => {
        if (readOnly) throw systemError("EBADF", "write", path);
        this.#needWritable("write", path);
      },
      needRoom: (byteCount) => this.#needRoom(byteCount, path),
    });
  }

  #needWritable(doing: string, path: string): void {
    if (this.readOnly) throw systemError("EROFS", doing, path);
  }

  #needRoom(byteCount: number, path: string): void {
    if (
      byteCount > 0 &&
      this.capacityBytes !== Infinity &&
      this.#usedBytes() + byteCount > this.capacityBytes
    ) {
      throw systemError("ENOSPC", "write", path);
    }
  }

  #usedBytes(): number {
    return this.#names.all().reduce((sum, [, file]) => sum + file.allocatedBytes, 0);
  }

  /** A copy of all files in which some of the writes under way have begun (I2). */
  #withIssued(rate: number): SimNames {
    return this.#names.copy((file, copy) => {
      for (const write of this.#issued) {
        if (write.file === file && this.#rng.chance(rate))
          copy.write(write.offset, sealed(write), this.#rng);
      }
    });
  }

  #successor(names: SimNames): SimDisk {
    const { onOperation: _, errorRates: __, ...options } = this.#options;
    const seed = this.#rng.uint32();
    return new SimDisk(
      { ...options, capacityBytes: this.capacityBytes, rng: options.rng.fork(`life-${seed}`) },
      names,
    );
  }
}
