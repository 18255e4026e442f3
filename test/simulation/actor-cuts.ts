/**
 * Seeded cuts under actors: clients call, the power goes or the process dies at an operation of the disk or a store that the
 * seed chooses (or a disk fails, or the host stops in order), the worker starts again on what is left, and the clients retry what
 * was not answered, with the same call ids. The oracle is in actor-oracle.ts, the operations in bank-actor.ts.
 *
 * Everything is driven by the seed: virtual time, simulated disk and stores. One seed replays one world.
 */
import { seededRng, VirtualClock, type Rng } from "@pinion/core";
import type { FlushPolicy } from "@pinion/storage";
import { Clients } from "./actor-clients.ts";
import { armFaults, NO_FAULTS, type Faults } from "./actor-faults.ts";
import {
  crashed,
  killed,
  newHardware,
  onOperation,
  openStateStore,
  SEGMENTS_DIR,
  SHARDS,
  startMachine,
  withoutIndex,
  type Hardware,
  type Machine,
} from "./actor-machine.ts";
import { ActorOracle, type LifeEnd } from "./actor-oracle.ts";
import { missingBallast, writeBallast } from "./ballast.ts";
import { bankActors } from "./bank-actor.ts";

const STEPS_MAX = 40_000;
/** How often the index is deleted between two lives. */
const INDEX_LOST = 0.1;

export interface CutReport {
  readonly cuts: number;
  readonly calls: number;
  readonly answered: number;
  readonly retried: number;
  /** Calls whose client died, or that could not be run. */
  readonly abandoned: number;
  readonly lostInWindow: number;
  readonly reminderFirings: number;
  readonly logFailures: number;
  readonly stops: number;
  /** Cuts at an operation of a checkpoint's segments. */
  readonly segmentCuts: number;
  /** Pages that were moved to empty segments. */
  readonly cleanedPages: number;
  readonly lostIndexes: number;
}

export interface CutOptions {
  readonly policy: FlushPolicy;
  readonly seed: number;
  /** Cuts in this world. */
  readonly cuts: number;
}

/** Runs one world. Throws, naming policy and seed, when an invariant is broken. */
export async function runActorCuts(options: CutOptions): Promise<CutReport> {
  const world = new World(options);
  const { stackTraceLimit } = Error;
  // Recorded errors hold stacks, which differ from one way of running this to another: their bytes would move everything.
  Error.stackTraceLimit = 0;
  try {
    return await world.run();
  } catch (error) {
    throw new Error(
      `policy ${options.policy.name}, seed ${options.seed}: ${(error as Error).message}`,
      { cause: error },
    );
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

class World {
  readonly #options: CutOptions;
  readonly #rng: Rng;
  readonly #clock = new VirtualClock();
  readonly #oracle: ActorOracle;
  readonly #clients: Clients;
  readonly #actors: ReturnType<typeof bankActors>;
  readonly #faults: Faults[] = [];
  #life = 0;
  #logFailures = 0;
  #stops = 0;
  #segmentCuts = 0;
  #cleanedPages = 0;
  #lostIndexes = 0;

  constructor(options: CutOptions) {
    this.#options = options;
    const rng = seededRng(options.seed);
    this.#rng = rng.fork("cuts");
    this.#oracle = new ActorOracle(options.policy, () => this.#clients.ops);
    this.#clients = new Clients(rng.fork("clients"), this.#clock, {
      asked: (op, machine) => this.#oracle.asked(op, machine),
      answered: (op, machine) =>
        // A turn may have ended with a failed load in an earlier life, and its answer been lost.
        this.#oracle.answered(
          op,
          this.#faults.slice(0, machine.life + 1).some((f) => f.store),
        ),
      problem: (text) => this.#oracle.problem(text),
      storeFails: (life) => this.#faults[life]?.store ?? false,
    });
    const luck = rng.fork("effects");
    this.#actors = bankActors((op) => {
      const ok = luck.chance(0.7);
      this.#oracle.ranEffect(op, ok);
      if (!ok) throw new Error("the outside world is down");
    });
  }

  async run(): Promise<CutReport> {
    let hardware: Hardware | undefined = await this.#newHardware();
    while (hardware !== undefined) {
      const life: Life = new Life(hardware);
      hardware = await this.#live(life);
      this.#life++;
    }
    const { ops } = this.#clients;
    return {
      cuts: this.#life - 1,
      calls: ops.length,
      answered: ops.filter((o) => o.answer !== undefined).length,
      retried: this.#clients.retried,
      abandoned: ops.filter((o) => o.abandoned).length,
      lostInWindow: this.#oracle.lost,
      reminderFirings: this.#oracle.firings,
      logFailures: this.#logFailures,
      stops: this.#stops,
      segmentCuts: this.#segmentCuts,
      cleanedPages: this.#cleanedPages,
      lostIndexes: this.#lostIndexes,
    };
  }

  async #newHardware(): Promise<Hardware> {
    const hardware = newHardware(this.#rng.fork("hardware"), this.#clock);
    const store = openStateStore(hardware, this.#rng.fork("ballast"), this.#clock);
    let written = false;
    void writeBallast(store, SHARDS)
      .then(() => store.close())
      .then(() => (written = true));
    await this.#until(() => written);
    return hardware;
  }

  /** One life of the worker. Returns the hardware after its end, or undefined when the world ended in order. */
  async #live(life: Life): Promise<Hardware | undefined> {
    const last = this.#life >= this.#options.cuts;
    // Any operation, or one of a checkpoint: of those there are fewer.
    const path = this.#rng.pick(["", SEGMENTS_DIR]);
    const cutAt = last ? Infinity : 1 + this.#rng.below(this.#rng.pick([12, 150, 150, 600]));
    let operations = 0;
    onOperation(life.hardware, (operation) => {
      if (!operation.path.startsWith(path) || ++operations < cutAt) return;
      if (operation.path.startsWith(SEGMENTS_DIR)) this.#segmentCuts++;
      // Now and then only the process dies: what was written stays readable, synced or not.
      this.#end(life, this.#rng.chance(0.7) ? "power" : "kill");
    });
    this.#faults.push(NO_FAULTS);
    void this.#begin(life, last).then(
      () => (life.done = true),
      (error: unknown) => {
        if (life.left === undefined) this.#oracle.problem(String((error as Error).stack));
      },
    );
    await this.#until(
      () => life.done || life.left !== undefined || this.#oracle.problems.length > 0,
    );
    this.#oracle.check();
    if (last) return undefined;
    // It lived through everything: the power goes while it is idle.
    if (life.left === undefined) this.#end(life, "power");
    return life.left;
  }

  #end(life: Life, by: LifeEnd["by"]): void {
    if (life.left !== undefined) return;
    const faults = this.#faults[this.#life] as Faults;
    life.left = by === "power" ? crashed(life.hardware) : killed(life.hardware);
    if (this.#rng.chance(INDEX_LOST)) {
      life.left = withoutIndex(life.left);
      this.#lostIndexes++;
    }
    onOperation(life.hardware, undefined);
    this.#oracle.lives.push({ atMs: this.#clock.nowMs(), by, diskFailed: faults.disk });
    if (life.machine === undefined) return;
    life.machine.dead = true;
    void life.machine.store.stats().then((shards) => {
      for (const { cleanedPages } of shards.values()) this.#cleanedPages += cleanedPages;
    });
  }

  async #begin(life: Life, last: boolean): Promise<void> {
    const machine = await this.#start(life.hardware);
    life.machine = machine;
    if (this.#oracle.lives.at(-1)?.by === "stop" && machine.worker.recovery.records > 0)
      this.#oracle.problem(`a stop left ${machine.worker.recovery.records} records to replay`);
    const faults = armFaults(this.#rng.fork(`faults ${this.#life}`), machine, this.#clock, last);
    this.#faults[this.#life] = faults;
    machine.worker.onFailure(() => {
      this.#logFailures++;
      if (!faults.disk) this.#oracle.problem(`the log failed: ${machine.log.failure?.message}`);
      this.#end(life, "kill");
    });
    const checked = this.#oracle.checkRestart(machine);
    this.#clients.retryAll(machine);
    await this.#work(machine);
    await checked;
    if (machine.dead) return;
    if (last) await this.#finish(machine);
    else if (this.#rng.chance(0.3)) await this.#stop(life, machine);
    else for (let i = 0; i < 100 && !machine.dead; i++) await this.#tick(5);
  }

  /** Clients at work. */
  async #work(machine: Machine): Promise<void> {
    const wanted = this.#rng.below(40) + 10;
    for (let sent = 0; sent < wanted && !machine.dead;) {
      sent += this.#clients.askMore(machine, wanted - sent);
      if (this.#rng.chance(0.04)) this.#clients.killOne(machine);
      await this.#tick(this.#rng.below(4));
      if (this.#rng.chance(0.3)) this.#clients.repeatOne(machine);
    }
  }

  /** The host stops in order, in the middle of turns; it may be cut meanwhile. */
  async #stop(life: Life, machine: Machine): Promise<void> {
    this.#stops++;
    try {
      await machine.worker.stop(this.#rng.pick([0, 0, 5, 50]));
      await machine.log.close();
    } catch (error) {
      const faults = this.#faults[this.#life] as Faults;
      if (!faults.store && !faults.disk) throw error;
      this.#end(life, "kill");
    }
    if (machine.log.failure === undefined) this.#end(life, "stop");
  }

  /** The last life ends once everything is answered and delivered, with a stop in order. */
  async #finish(machine: Machine): Promise<void> {
    while (this.#clients.unanswered.length > 0) await this.#tick(1);
    while (machine.worker.core.outboxSize > 0) await this.#tick(5);
    for (let i = 0; i < 300; i++) await this.#tick(1);
    await this.#oracle.checkEnd(machine);
    machine.hardware.disk.clearFaults();
    await machine.worker.stop(1_000);
    await machine.log.close();
    machine.dead = true;
    const again = await this.#start(machine.hardware);
    if (again.worker.recovery.records > 0)
      this.#oracle.problem(`a clean stop left ${again.worker.recovery.records} records to replay`);
    await this.#oracle.checkEnd(again);
    for (const problem of await missingBallast(again.store, SHARDS)) this.#oracle.problem(problem);
    again.dead = true;
  }

  #start(hardware: Hardware): Promise<Machine> {
    return startMachine({
      hardware,
      clock: this.#clock,
      rng: this.#rng.fork(`machine ${this.#life}`),
      policy: this.#options.policy,
      actors: this.#actors,
      life: this.#life,
    });
  }

  /** Lets virtual time pass until `done`. */
  async #until(done: () => boolean): Promise<void> {
    for (let step = 0; !done(); step++) {
      if (step > STEPS_MAX)
        throw new Error(`the world stands still; unanswered: ${this.#waiting()}`);
      await this.#clock.advance(0.5);
    }
  }

  #waiting(): string {
    return this.#clients.unanswered
      .map((o) => `${o.id} ${o.method} ${o.place.key}→${o.to.key} attempt ${o.attempt}`)
      .join(", ");
  }

  #tick(ms: number): Promise<void> {
    return new Promise((resolve) => this.#clock.setTimer(ms, resolve));
  }
}

class Life {
  readonly hardware: Hardware;
  machine: Machine | undefined = undefined;
  /** What the next life finds; set when this one has ended. */
  left: Hardware | undefined = undefined;
  done = false;

  constructor(hardware: Hardware) {
    this.hardware = hardware;
  }
}
