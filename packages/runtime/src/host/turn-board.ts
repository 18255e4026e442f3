/**
 * Shared memory through which a worker tells the control thread that its event loop turns, and which actor's turn it is in.
 * When the loop is blocked nothing can be asked any more: what stands here is all there is to name the culprit with.
 *
 * | offset | size  | field                                                                             |
 * |--------|-------|-----------------------------------------------------------------------------------|
 * | 0      | 4     | beats: u32, one more every `BEAT_MS` while the loop turns                          |
 * | 4      | 4     | place: 0 outside of turns, 1 in a turn, 2 in what follows an `await` of a turn     |
 * | 8      | 4     | change: u32, odd while the fields below are being written                          |
 * | 12     | 4     | reserved                                                                          |
 * | 16     | 8     | f64 sequence number of the call; 0 in a hook, which no call names                   |
 * | 24     | 8     | u16 lengths of actor, method, session, path                                        |
 * | 32     | 1,280 | actor key, UTF-16 code units (512 bytes of id, namespace and branch: 640 at most)   |
 * | 1,312  | 256   | method, 128 code units                                                            |
 * | 1,568  | 256   | session, 128 code units                                                           |
 * | 1,824  | 512   | path of ordinals, 256 code units                                                  |
 *
 * B1 a text is written only when it differs from the one before: entering and leaving costs 3.5 ns for the same actor
 *    again, 35 ns for another one of 20 characters.
 * B2 the writer never waits; the reader tries again when it met a change. Plain stores suffice: the reader looks when the
 *    writer has stood still for seconds.
 * B3 too long a text is cut, and then names nothing exactly: `exact` is false.
 */
import type { IncomingCall } from "../gateway/dispatcher.ts";
import type { CallKey } from "../records/call-key.ts";
import type { TurnMonitor } from "../activation/services.ts";

/** How often the worker says that its event loop turns. */
export const BEAT_MS = 100;

const BYTES = 2_336;
const BEATS = 0;
const PLACE = 1;
const CHANGE = 2;
const SEQ = 2;
/** In units of two bytes. */
const LENGTHS = 12;
const ACTOR = { length: 0, at: 16, max: 640 };
const METHOD = { length: 1, at: 656, max: 128 };
const SESSION = { length: 2, at: 784, max: 128 };
const PATH = { length: 3, at: 912, max: 256 };
type Field = typeof ACTOR;

const OUTSIDE = 0;
const IN_TURN = 1;
const RESUMED = 2;

export const createTurnBoard = (): SharedArrayBuffer => new SharedArrayBuffer(BYTES);

class BoardViews {
  readonly words: Uint32Array;
  readonly numbers: Float64Array;
  readonly units: Uint16Array;

  constructor(board: SharedArrayBuffer) {
    this.words = new Uint32Array(board, 0, 4);
    this.numbers = new Float64Array(board, 0, 3);
    this.units = new Uint16Array(board);
  }
}

/** The worker's side. */
export class TurnBoardWriter implements TurnMonitor {
  readonly #words: Uint32Array;
  readonly #numbers: Float64Array;
  readonly #units: Uint16Array;
  #actor = "";
  #method = "";
  #session = "";
  #path = "";

  constructor(board: SharedArrayBuffer) {
    const views = new BoardViews(board);
    this.#words = views.words;
    this.#numbers = views.numbers;
    this.#units = views.units;
  }

  beat(): void {
    Atomics.add(this.#words, BEATS, 1);
  }

  enter(actor: string, method: string, call: IncomingCall | undefined): void {
    this.#write(actor, method, call, IN_TURN);
  }

  resume(actor: string, method: string, call: IncomingCall | undefined): void {
    this.#write(actor, method, call, RESUMED);
  }

  leave(): void {
    this.#words[PLACE] = OUTSIDE;
  }

  #write(actor: string, method: string, call: IncomingCall | undefined, place: number): void {
    const words = this.#words;
    words[CHANGE]!++;
    if (actor !== this.#actor) this.#put(ACTOR, (this.#actor = actor));
    if (method !== this.#method) this.#put(METHOD, (this.#method = method));
    if (call === undefined) this.#numbers[SEQ] = 0;
    else {
      this.#numbers[SEQ] = call.seq;
      const session = call.session.id;
      if (session !== this.#session) this.#put(SESSION, (this.#session = session));
      if (call.path !== this.#path) this.#put(PATH, (this.#path = call.path));
    }
    words[PLACE] = place;
    words[CHANGE]!++;
  }

  #put(field: Field, text: string): void {
    const units = this.#units;
    const length = text.length;
    units[LENGTHS + field.length] = length;
    const end = length < field.max ? length : field.max;
    for (let i = 0; i < end; i++) units[field.at + i] = text.charCodeAt(i);
  }
}

/** The turn that the event loop was in last. */
export interface BoardTurn {
  readonly actor: string;
  readonly method: string;
  /** Undefined in `onActivate` and `onDeactivate`. */
  readonly call: CallKey | undefined;
  /** Certain: this turn's own code holds the loop. False after an `await`, when other code may have come in between. */
  readonly exact: boolean;
}

/** The control thread's side. */
export class TurnBoardReader {
  readonly #views: BoardViews;

  constructor(board: SharedArrayBuffer) {
    this.#views = new BoardViews(board);
  }

  get beats(): number {
    return Atomics.load(this.#views.words, BEATS);
  }

  /** Undefined outside of turns, and while the board changes faster than it can be read: then nothing is blocked. */
  current(): BoardTurn | undefined {
    const { words } = this.#views;
    for (let tries = 0; tries < 3; tries++) {
      const before = Atomics.load(words, CHANGE);
      const turn = this.#read();
      if (before % 2 === 0 && Atomics.load(words, CHANGE) === before) return turn;
    }
    return undefined;
  }

  #read(): BoardTurn | undefined {
    const { words, numbers } = this.#views;
    const place = words[PLACE];
    if (place === OUTSIDE) return undefined;
    const actor = this.#text(ACTOR);
    const method = this.#text(METHOD);
    const session = this.#text(SESSION);
    const path = this.#text(PATH);
    const seq = numbers[SEQ] as number;
    return {
      actor: actor.text,
      method: method.text,
      call: seq === 0 ? undefined : { session: session.text, seq, path: path.text },
      exact: place === IN_TURN && !actor.cut && !method.cut && !session.cut && !path.cut,
    };
  }

  #text(field: Field): { text: string; cut: boolean } {
    const { units } = this.#views;
    const length = units[LENGTHS + field.length] as number;
    const end = Math.min(length, field.max);
    return {
      text: String.fromCharCode(...units.subarray(field.at, field.at + end)),
      cut: length > field.max,
    };
  }
}
