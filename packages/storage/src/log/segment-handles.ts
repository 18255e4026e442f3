/**
 * Segment files that are open for reading, and who is reading them.
 *
 * I1 a segment is pinned from `acquire` (synchronously, before the file is even open) to `release`: nobody removes it meanwhile.
 * I2 a file is used only after its header has said that it is the segment it should be.
 * I3 at most `idleMax` files stay open that nobody reads.
 */
import { PinionError } from "@pinion/core";
import type { DiskFile } from "../disk/disk.ts";
import type { SegmentFiles } from "./segment-files.ts";

interface Handle {
  pins: number;
  file: Promise<DiskFile> | undefined;
}

/** A pinned segment. */
export interface SegmentLease {
  readonly file: DiskFile;
  /** Harmless when repeated. */
  release(): void;
}

export class SegmentHandles {
  readonly #files: SegmentFiles;
  readonly #idleMax: number;
  /** Least recently released first. */
  readonly #handles = new Map<number, Handle>();
  readonly #onUnpinned: (sequence: number) => void;

  constructor(files: SegmentFiles, idleMax: number, onUnpinned: (sequence: number) => void) {
    this.#files = files;
    this.#idleMax = idleMax;
    this.#onUnpinned = onUnpinned;
  }

  get openCount(): number {
    return this.#handles.size;
  }

  isPinned(sequence: number): boolean {
    return (this.#handles.get(sequence)?.pins ?? 0) > 0;
  }

  /** @throws `corruption`, `not-found`, `io-error` */
  async acquire(sequence: number, generation: number): Promise<SegmentLease> {
    const handle = this.#pin(sequence);
    let released = false;
    const release = (): void => {
      if (released) return;
      released = true;
      this.#unpin(sequence, handle);
    };
    try {
      handle.file ??= this.#open(sequence, generation);
      return { file: await handle.file, release };
    } catch (e) {
      handle.file = undefined;
      release();
      throw e;
    }
  }

  /** Closes a segment's file if nobody reads it: its name is about to mean another file, or none. */
  async forget(sequence: number): Promise<void> {
    const handle = this.#handles.get(sequence);
    if (!handle || handle.pins > 0) return;
    this.#handles.delete(sequence);
    await close(handle);
  }

  /** Closes what nobody reads now, and the rest when its last reader lets go. */
  async closeAll(): Promise<void> {
    const handles = [...this.#handles.values()];
    this.#handles.clear();
    await Promise.all(handles.filter(({ pins }) => pins === 0).map(close));
  }

  async #open(sequence: number, generation: number): Promise<DiskFile> {
    const file = await this.#files.disk.open(this.#files.segmentPath(sequence), { readOnly: true });
    try {
      const header = await this.#files.readHeader(file);
      if (header.sequence === sequence && header.generation === generation) return file;
      throw new PinionError(
        "corruption",
        `${file.path} is not the file the log wrote: it was replaced`,
        {
          details: { segment: sequence, offset: 0, path: file.path },
        },
      );
    } catch (e) {
      await file.close();
      throw e;
    }
  }

  #pin(sequence: number): Handle {
    let handle = this.#handles.get(sequence);
    if (!handle) this.#handles.set(sequence, (handle = { pins: 0, file: undefined }));
    handle.pins++;
    return handle;
  }

  #unpin(sequence: number, handle: Handle): void {
    if (--handle.pins > 0) return;
    if (this.#handles.get(sequence) === handle) {
      this.#handles.delete(sequence);
      if (handle.file) this.#handles.set(sequence, handle);
      this.#closeIdle();
    } else {
      void close(handle);
    }
    this.#onUnpinned(sequence);
  }

  #closeIdle(): void {
    let idle = 0;
    for (const { pins } of this.#handles.values()) if (pins === 0) idle++;
    for (const [sequence, handle] of this.#handles) {
      if (idle <= this.#idleMax) return;
      if (handle.pins > 0) continue;
      this.#handles.delete(sequence);
      void close(handle);
      idle--;
    }
  }
}

/** A file that was only read loses nothing when its closing fails. */
async function close(handle: Handle): Promise<void> {
  await handle.file?.then((file) => file.close()).catch(() => {});
}
