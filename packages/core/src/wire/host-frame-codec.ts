/**
 * HostFrame ↔ bytes (actor.proto). Replies are appended as they come and the frame is finished when it leaves. Reading
 * leaves results as bytes: each is decoded once, for the caller that waits for it.
 */
import type { ByteWriter } from "./byte-writer.ts";
import { decodeError, writeError } from "./error-codec.ts";
import {
  type GoAway,
  type HostFrame,
  type Relocation,
  type ReplyReader,
  type Welcome,
  type WorkerEndpoint,
} from "./messages.ts";
import { ProtoReader } from "./proto-reader.ts";
import {
  BYTES,
  closeLength,
  FIXED64,
  openLength,
  VARINT,
  writeBytesItem,
  writeFixed64,
  writeText,
  writeUint,
  writeVarint,
} from "./proto-writer.ts";
import type { PinionError } from "../errors.ts";
import { readEndpoint, readWelcome, writeEndpoint, writeWelcome } from "./welcome-codec.ts";

const FRAME_WELCOME = (1 << 3) | BYTES;
const FRAME_REPLIES = (2 << 3) | BYTES;
const FRAME_RELOCATIONS = (3 << 3) | BYTES;
const FRAME_GO_AWAY = (4 << 3) | BYTES;
const FRAME_CREDIT = (5 << 3) | VARINT;
const FRAME_HLC_US = (6 << 3) | FIXED64;
const FRAME_ERROR = (7 << 3) | BYTES;

const REPLY_SEQ = (1 << 3) | VARINT;
const REPLY_VALUE = (2 << 3) | BYTES;
const REPLY_ERROR = (3 << 3) | BYTES;
const REPLY_LSN = (4 << 3) | VARINT;
const REPLY_SHARD = (5 << 3) | VARINT;
const REPLY_PATH = (6 << 3) | BYTES;

const RELOCATION_SHARD = (1 << 3) | VARINT;
const RELOCATION_TERM = (2 << 3) | VARINT;
const RELOCATION_TO = (3 << 3) | BYTES;

const GO_AWAY_REASON = (1 << 3) | BYTES;
const GO_AWAY_GRACE_MS = (2 << 3) | VARINT;

/** As for calls: what a hostile frame may make of two bytes each. */
const RELOCATIONS_MAX = 65_536;
const NO_ENDPOINT: WorkerEndpoint = Object.freeze({ host: "", worker: 0, address: "" });

// ---------------------------------------------------------------- writing

export function writeFrameWelcome(w: ByteWriter, welcome: Welcome): void {
  const at = openLength(w, FRAME_WELCOME);
  writeWelcome(w, welcome);
  closeLength(w, at);
}

/**
 * @param result one MessagePack value, or an `Error` message when not `ok`; of no bytes: `undefined`.
 * @param lsn 0: none. @param path as in the call.
 */
export function writeReply(
  w: ByteWriter,
  seq: number,
  ok: boolean,
  result: Uint8Array,
  lsn: number,
  shard: number,
  path: string,
): void {
  const at = openLength(w, FRAME_REPLIES);
  writeVarint(w, REPLY_SEQ);
  writeVarint(w, seq);
  if (result.length > 0) writeBytesItem(w, ok ? REPLY_VALUE : REPLY_ERROR, result);
  writeUint(w, REPLY_LSN, lsn);
  writeUint(w, REPLY_SHARD, shard);
  writeText(w, REPLY_PATH, path);
  closeLength(w, at);
}

export function writeRelocation(w: ByteWriter, relocation: Relocation): void {
  const at = openLength(w, FRAME_RELOCATIONS);
  writeUint(w, RELOCATION_SHARD, relocation.shard);
  writeUint(w, RELOCATION_TERM, relocation.term);
  const to = openLength(w, RELOCATION_TO);
  writeEndpoint(w, relocation.to);
  closeLength(w, to);
  closeLength(w, at);
}

export function writeGoAway(w: ByteWriter, goAway: GoAway): void {
  const at = openLength(w, FRAME_GO_AWAY);
  writeText(w, GO_AWAY_REASON, goAway.reason);
  writeUint(w, GO_AWAY_GRACE_MS, Math.ceil(goAway.graceMs));
  closeLength(w, at);
}

export function writeCredit(w: ByteWriter, credit: number): void {
  writeUint(w, FRAME_CREDIT, credit);
}

export function writeFrameError(w: ByteWriter, error: PinionError): void {
  const at = openLength(w, FRAME_ERROR);
  writeError(w, error, { omitStack: true });
  closeLength(w, at);
}

/** The frame's own field, last. */
export function writeHostFrameEnd(w: ByteWriter, hlcUs: number): void {
  writeFixed64(w, FRAME_HLC_US, hlcUs);
}

// ---------------------------------------------------------------- reading

/**
 * @param replies gets the replies in their order; those before a malformed place have been told by then.
 * @throws `malformed-frame`
 */
export function decodeHostFrame(bytes: Uint8Array, replies: ReplyReader): HostFrame {
  const r = new ProtoReader(bytes);
  let replyCount = 0;
  const relocations: Relocation[] = [];
  let welcome: Welcome | undefined;
  let goAway: GoAway | undefined;
  let error: PinionError | undefined;
  let credit = 0;
  let hlcUs = 0;
  while (r.at < r.end) {
    const tag = r.tag();
    switch (tag) {
      case FRAME_REPLIES:
        replyCount++;
        readReply(r, replies);
        break;
      case FRAME_HLC_US:
        hlcUs = r.fixed64();
        break;
      case FRAME_WELCOME:
        welcome = r.within(readWelcome);
        break;
      case FRAME_RELOCATIONS:
        if (relocations.length === RELOCATIONS_MAX)
          throw r.malformed("too many relocations in a frame");
        relocations.push(r.within(readRelocation));
        break;
      case FRAME_GO_AWAY:
        goAway = r.within(readGoAway);
        break;
      case FRAME_CREDIT:
        credit = r.uint32();
        break;
      case FRAME_ERROR: {
        const end = r.length();
        error = decodeError(bytes, r.at, end);
        r.at = end;
        break;
      }
      default:
        r.skip(tag);
    }
  }
  return { welcome, replyCount, relocations, goAway, credit, hlcUs, error };
}

function readReply(r: ProtoReader, replies: ReplyReader): void {
  const outerEnd = r.end;
  r.end = r.length();
  let seq = 0;
  let ok = true;
  let start = r.at;
  let end = r.at;
  let lsn = 0;
  let shard = 0;
  while (r.at < r.end) {
    const tag = r.tag();
    switch (tag) {
      case REPLY_SEQ:
        seq = r.uint();
        break;
      case REPLY_VALUE:
      case REPLY_ERROR:
        ok = tag === REPLY_VALUE;
        end = r.length();
        start = r.at;
        r.at = end;
        break;
      case REPLY_LSN:
        lsn = r.uint();
        break;
      case REPLY_SHARD:
        shard = r.uint32();
        break;
      default:
        r.skip(tag);
    }
  }
  r.end = outerEnd;
  replies.onReply(seq, ok, r.bytes, start, end, lsn, shard);
}

function readRelocation(r: ProtoReader): Relocation {
  let shard = 0;
  let term = 0;
  let to = NO_ENDPOINT;
  while (r.at < r.end) {
    const tag = r.tag();
    if (tag === RELOCATION_SHARD) shard = r.uint32();
    else if (tag === RELOCATION_TERM) term = r.uint();
    else if (tag === RELOCATION_TO) to = r.within(readEndpoint);
    else r.skip(tag);
  }
  return { shard, term, to };
}

function readGoAway(r: ProtoReader): GoAway {
  let reason = "";
  let graceMs = 0;
  while (r.at < r.end) {
    const tag = r.tag();
    if (tag === GO_AWAY_REASON) reason = r.text();
    else if (tag === GO_AWAY_GRACE_MS) graceMs = r.uint();
    else r.skip(tag);
  }
  return { reason, graceMs };
}
