/**
 * Random turns over every structure at once, while their extents lose their memory and get it back in the middle of turns, checkpoints come, fail
 * and go on beside them, pages come in any order, and readonly turns look on for longer than they should.
 *
 * Varied: operations and how many of them are under way at once, reads that a write follows before they are there, memory that cannot grow, turns
 * that are thrown away, stops and power cuts between lives, a pool of pages or none, disks that answer at once. Compared with a model of each
 * structure: every result, all that a readonly turn sees as of when it began, and everything after each life.
 *
 * For hand: `pnpm soak:structures --level turns [--worlds N] [--seed S]`.
 */
import { isPinionError, type Rng } from "@pinion/core";
import { replayable, type Place } from "./soak-replay.ts";
import { BLOBS, BYTES } from "./structure-bytes.ts";
import { StructureMachine, type MachineReport } from "./structure-machine.ts";
import {
  copyModel,
  emptyModel,
  handlesOf,
  NAMES,
  pause,
  type Exercise,
  type Handles,
  type Model,
  type Name,
} from "./structure-model.ts";
import { LOG, NUMBERS, TEXTS } from "./structure-rows.ts";
import { BINARIES, GRAPH, VALUES } from "./structure-trees.ts";

const EXERCISES: { readonly [N in Name]: Exercise } = {
  bytes: BYTES,
  values: VALUES,
  binaries: BINARIES,
  log: LOG,
  numbers: NUMBERS,
  texts: TEXTS,
  graph: GRAPH,
  blobs: BLOBS,
};

const LIVES = 3;
const TURNS_PER_LIFE = 25;
const READERS_MAX = 3;

export interface StructureSoakReport extends MachineReport {
  turns: number;
  reads: number;
  /** Reads that said that too much has changed since. */
  expired: number;
}

/** @throws an error that names seed, life, turn and the command that replays it, where something is not as it should be */
export function soakStructures(seed: number): Promise<StructureSoakReport> {
  return replayable("turns", seed, (place) => new StructureSoak(seed, place).run());
}

class StructureSoak {
  readonly #machine: StructureMachine;
  readonly #rng: Rng;
  readonly #place: Place;
  readonly #readers = new Set<Promise<void>>();
  /** As committed. */
  #model = emptyModel();
  /** What turns and readers are about for a while, so that what one has done meets the next. */
  #focus: Name = "bytes";
  #turnOver = Promise.withResolvers<void>();
  #turns = 0;
  #reads = 0;
  #expired = 0;

  constructor(seed: number, place: Place) {
    this.#machine = new StructureMachine(seed);
    this.#rng = this.#machine.rng;
    this.#place = place;
  }

  async run(): Promise<StructureSoakReport> {
    for (; this.#place.life < LIVES; this.#place.life++) await this.#life();
    const [turns, reads, expired] = [this.#turns, this.#reads, this.#expired];
    return { ...this.#machine.report, turns, reads, expired };
  }

  async #life(): Promise<void> {
    const rng = this.#rng;
    const machine = this.#machine;
    const place = this.#place;
    await machine.open();
    await this.#verify(NAMES);
    for (place.turn = 0; place.turn < TURNS_PER_LIFE; place.turn++) {
      if (this.#readers.size < READERS_MAX && rng.below(3) === 0) this.#look();
      if (rng.below(2) === 0) machine.poke();
      if (rng.below(3) === 0) this.#focus = rng.pick(NAMES);
      await this.#turn();
      this.#wakeReaders();
      machine.check();
      if (rng.below(4) === 0) await this.#verify(NAMES.filter(() => rng.below(3) === 0));
      machine.check();
    }
    while (this.#readers.size > 0) {
      this.#wakeReaders();
      await pause(rng);
    }
    await machine.settle();
    await this.#verify(NAMES);
    await machine.end(rng.below(2) === 0 ? "stop" : "power");
  }

  async #verify(names: readonly Name[]): Promise<void> {
    const turn = this.#machine.extents.begin(true);
    const handles = handlesOf(turn);
    for (const name of names) await EXERCISES[name].verify(handles, this.#model, this.#rng);
    turn.end();
  }

  /** Of one commit, or several; what comes behind the last is thrown away. */
  async #turn(): Promise<void> {
    const rng = this.#rng;
    const machine = this.#machine;
    const turn = machine.extents.begin(false);
    const handles = handlesOf(turn);
    const model = copyModel(this.#model);
    const stopPoking = rng.below(4) > 0 ? machine.pokeBeside(this.#focus) : () => Promise.resolve();
    try {
      for (let isLast = false; !isLast;) {
        isLast = rng.below(3) > 0;
        await this.#change(handles, model);
        if (rng.below(5) === 0) break;
        const finished = turn.finish();
        if (finished !== undefined) {
          if (isLast && rng.below(3) === 0) {
            turn.seal();
            for (let left = rng.below(4); left > 0; left--) await pause(rng);
          }
          machine.append(finished.delta);
          finished.publish();
        }
        this.#model = copyModel(model);
      }
      this.#turns++;
    } finally {
      await stopPoking();
      turn.end();
    }
  }

  /** Operations on some structures, one after the other or side by side. */
  async #change(handles: Handles, model: Model): Promise<void> {
    const rng = this.#rng;
    const { life, turn } = this.#place;
    for (let round = 1 + rng.below(3); round > 0; round--) {
      const others = [rng.pick(NAMES), ...(rng.below(3) === 0 ? [rng.pick(NAMES)] : [])];
      const names = [...new Set([this.#focus, ...others])];
      const isAtOnce = rng.below(2) === 0;
      const changing: Promise<void>[] = [];
      for (const name of names) {
        const own = rng.fork(`${life} ${turn} ${round} ${name}`);
        const change = EXERCISES[name].change(this.#machine, handles, model, own);
        if (isAtOnce) changing.push(change);
        else await change;
      }
      await Promise.all(changing);
    }
  }

  /** A readonly turn, which sees the structures as they are now, whatever comes. */
  #look(): void {
    const rng = this.#rng.fork(`reader ${this.#place.life} ${this.#place.turn}`);
    const reader = this.#readLong(rng, copyModel(this.#model))
      .catch((e: unknown) => this.#machine.failed(e))
      .finally(() => this.#readers.delete(reader));
    this.#readers.add(reader);
  }

  #wakeReaders(): void {
    this.#turnOver.resolve();
    this.#turnOver = Promise.withResolvers();
  }

  async #readLong(rng: Rng, model: Model): Promise<void> {
    const turn = this.#machine.extents.begin(true);
    const handles = handlesOf(turn);
    const focus = this.#focus;
    try {
      for (let left = 1 + rng.below(4); left > 0; left--) {
        for (let turns = rng.below(3); turns > 0; turns--) await this.#turnOver.promise;
        for (let pauses = rng.below(4); pauses > 0; pauses--) await pause(rng);
        this.#reads++;
        try {
          const name = rng.below(2) === 0 ? focus : rng.pick(NAMES);
          await EXERCISES[name].verify(handles, model, rng);
        } catch (e) {
          if (!isPinionError(e, "view-expired")) throw e;
          this.#expired++;
        }
      }
    } finally {
      turn.end();
    }
  }
}
