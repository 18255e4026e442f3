/**
 * The floors' servers. argv: `bare`, or `durable`, a folder and the bytes of a log record.
 *
 * bare     answers every frame at once.
 * durable  writes a record with a CRC per call first: one write and one fdatasync for all frames that came while the last
 *          one ran, then their answers, in a frame.
 */
import { fdatasync, openSync, write, writeSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import { serveQuestions } from "./child.ts";
import { FLOOR_SERVICE } from "./floor-service.ts";
import { CALL_BYTES, CLIENT_FRAME_BYTES, HOST_FRAME_BYTES, REPLY_BYTES } from "./frame-sizes.ts";

type Stream = ServerDuplexStream<Buffer, Buffer>;

const callsIn = (frame: Buffer): number => (frame.length - CLIENT_FRAME_BYTES) / CALL_BYTES;

function answer(stream: Stream, frames: readonly Buffer[], calls: number): void {
  const reply = Buffer.allocUnsafe(HOST_FRAME_BYTES + calls * REPLY_BYTES);
  const to = new DataView(reply.buffer, reply.byteOffset);
  let toAt = HOST_FRAME_BYTES;
  for (const frame of frames) {
    const from = new DataView(frame.buffer, frame.byteOffset);
    for (let at = CLIENT_FRAME_BYTES; at < frame.length; at += CALL_BYTES, toAt += REPLY_BYTES) {
      to.setUint32(toAt, from.getUint32(at, true), true);
    }
  }
  stream.write(reply);
}

/** A file of a fixed length, overwritten round and round: nothing but data has to reach the disk. */
class Journal {
  static readonly #FILE_BYTES = 64 << 20;
  static readonly #BATCH_BYTES_MAX = 1 << 20;
  readonly #file: number;
  readonly #recordBytes: number;
  readonly #batch = Buffer.alloc(Journal.#BATCH_BYTES_MAX);
  #batchBytes = 0;
  #position = 0;

  constructor(path: string, recordBytes: number) {
    this.#file = openSync(path, "w");
    this.#recordBytes = recordBytes;
    for (let at = 0; at < Journal.#FILE_BYTES; at += this.#batch.length) {
      writeSync(this.#file, this.#batch);
    }
  }

  record(slot: Buffer): void {
    const { length } = slot;
    slot.copy(this.#batch, this.#batchBytes + 4, 0, Math.min(length, this.#recordBytes - 4));
    const end = this.#batchBytes + this.#recordBytes;
    this.#batch.writeUInt32LE(
      crc32(this.#batch.subarray(this.#batchBytes + 4, end)),
      this.#batchBytes,
    );
    this.#batchBytes = end;
  }

  flush(done: () => void): void {
    const bytes = this.#batchBytes;
    this.#batchBytes = 0;
    if (this.#position + bytes > Journal.#FILE_BYTES) this.#position = 0;
    write(this.#file, this.#batch, 0, bytes, this.#position, (error) => {
      if (error !== null) throw error;
      fdatasync(this.#file, (failed) => {
        if (failed !== null) throw failed;
        done();
      });
    });
    this.#position += bytes;
  }
}

function serveBare(stream: Stream): void {
  stream.on("data", (frame: Buffer) => answer(stream, [frame], callsIn(frame)));
}

function serveDurable(stream: Stream, journal: Journal): void {
  let waiting: Buffer[] = [];
  let flushing = false;
  const flush = (): void => {
    const frames = waiting;
    waiting = [];
    flushing = true;
    let calls = 0;
    for (const frame of frames) {
      for (let at = CLIENT_FRAME_BYTES; at < frame.length; at += CALL_BYTES, calls++) {
        journal.record(frame.subarray(at, at + CALL_BYTES));
      }
    }
    journal.flush(() => {
      flushing = false;
      answer(stream, frames, calls);
      if (waiting.length > 0) flush();
    });
  };
  stream.on("data", (frame: Buffer) => {
    waiting.push(frame);
    if (!flushing) flush();
  });
}

const [, , mode, dir = "", recordBytes] = process.argv as [
  string,
  string,
  string,
  string?,
  string?,
];
const journal =
  mode === "durable" ? new Journal(join(dir, "floor.journal"), Number(recordBytes)) : undefined;

const server = new Server();
server.addService(FLOOR_SERVICE, {
  echo: (stream: Stream) => {
    if (journal === undefined) serveBare(stream);
    else serveDurable(stream, journal);
    stream.on("end", () => stream.end());
    stream.on("error", () => {});
  },
});
const listening = Promise.withResolvers<string>();
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error === null) listening.resolve(`127.0.0.1:${port}`);
  else listening.reject(error);
});

serveQuestions(
  () => listening.promise,
  () => server.forceShutdown(),
);
