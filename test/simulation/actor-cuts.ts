/**
 * Seeded power cuts under actors: clients call, the power goes at an operation of the disk or the index that the seed chooses,
 * the worker starts again on what is left, and the clients retry what was not answered, with the same call ids.
 *
 * The oracle (N1, N3, N4 of the design):
 *  - an answered call is applied exactly once at every actor it reaches, sub-calls and sends included; under `periodic` and `async`
 *    an answer may be lost with the power, but then so is every later one of the same shard, and nothing is applied twice;
 *  - a call that threw left nothing anywhere;
 *  - a reply says what the state then says;
 *  - a reminder's due time has at most one effect, and none is skipped while the reminder is set.
 *
 * Everything is driven by the seed: virtual time, simulated disk and index. One seed replays one world.
 */
import {
  decodeError,
  decodeValue,
  encodeArgs,
  noTelemetry,
  seededRng,
  VirtualClock,
  type PinionError,
  type Rng,
} from "@pinion/core";
import {
  ActorWorker,
  MajorityOfOne,
  WORKER_DEFAULTS,
  type IncomingCall,
  type Outcome,
} from "@pinion/runtime/internal";
import {
  KvStateStore,
  openLog,
  SimDisk,
  SimKv,
  type FlushPolicy,
  type SegmentedLog,
} from "@pinion/storage";
import { Bank } from "./bank-actor.ts";

const ACTORS = ["a", "b", "c", "d", "e"];
const CLIENTS = 4;
const PER_CLIENT = 6;
const SHARDS = 4;

export interface CutReport {
  readonly cuts: number;
  readonly calls: number;
  readonly answered: number;
  readonly retried: number;
  readonly lostInWindow: number;
  readonly reminderFirings: number;
}

interface Op {
  readonly id: string;
  readonly session: string;
  readonly seq: number;
  readonly actor: string;
  readonly to: string;
  readonly method: string;
  readonly args: Uint8Array;
  readonly issuedAt: number;
  attempt: number;
  /** The answer, once there is one. */
  answer: { ok: boolean; value: unknown } | undefined;
  answeredAtMs: number;
}

interface Machine {
  readonly disk: SimDisk;
  readonly index: SimKv;
  readonly state: SimKv;
  readonly log: SegmentedLog;
  readonly worker: ActorWorker;
  dead: boolean;
}

export interface CutOptions {
  readonly policy: FlushPolicy;
  readonly seed: number;
  /** Power cuts in this world. */
  readonly cuts: number;
}

/** Runs one world. Throws, naming the seed, when an invariant is broken. */
export async function runActorCuts(options: CutOptions): Promise<CutReport> {
  const world = new World(options);
  try {
    return await world.run();
  } catch (error) {
    throw new Error(
      `policy ${options.policy.name}, seed ${options.seed}: ${(error as Error).message}`,
      { cause: error },
    );
  }
}

class World {
  readonly #options: CutOptions;
  readonly #rng: Rng;
  readonly #clock = new VirtualClock();
  readonly #ops: Op[] = [];
  readonly #problems: string[] = [];
  #nextOp = 0;
  #cuts = 0;
  #retried = 0;
  #lost = 0;

  constructor(options: CutOptions) {
    this.#options = options;
    this.#rng = seededRng(options.seed);
  }

  async run(): Promise<CutReport> {
    const rng = this.#rng.fork("hardware");
    let disk = new SimDisk({
      rng: rng.fork("disk"),
      clock: this.#clock,
      latencyMs: () => 0.05 + rng.float(),
    });
    let index = new SimKv({
      rng: rng.fork("index"),
      clock: this.#clock,
      latencyMs: () => 0.05 + rng.float(),
      name: "index",
    });
    let state = new SimKv({
      rng: rng.fork("state"),
      clock: this.#clock,
      latencyMs: () => 0.05 + rng.float(),
      name: "state",
    });
    for (;;) {
      const last = this.#cuts >= this.#options.cuts;
      const cutAt = last ? Infinity : 1 + this.#rng.below(this.#rng.chance(0.3) ? 12 : 120);
      const machine = await this.#live(disk, index, state, cutAt);
      if (machine === undefined) break;
      this.#cuts++;
      ({ disk, index, state } = machine);
    }
    return {
      cuts: this.#cuts,
      calls: this.#ops.length,
      answered: this.#ops.filter((o) => o.answer !== undefined).length,
      retried: this.#retried,
      lostInWindow: this.#lost,
      reminderFirings: this.#firings,
    };
  }

  #firings = 0;

  /** One life of the worker. Returns the hardware after a cut, or undefined when the world ended in order. */
  async #live(
    disk: SimDisk,
    index: SimKv,
    state: SimKv,
    cutAt: number,
  ): Promise<{ disk: SimDisk; index: SimKv; state: SimKv } | undefined> {
    let left: { disk: SimDisk; index: SimKv; state: SimKv } | undefined;
    let operations = 0;
    const cut = (): void => {
      // Now and then only the process dies: what was written stays readable, synced or not.
      const power = this.#rng.chance(0.7);
      left = power
        ? { disk: disk.crash(), index: index.crash(), state: state.crash() }
        : { disk: disk.kill(), index: index.kill(), state: state.kill() };
    };
    disk.onOperation = index.onOperation = state.onOperation = () => {
      if (left === undefined && ++operations >= cutAt) cut();
    };
    let machine: Machine | undefined;
    void this.#start(disk, index, state).then(
      (m) => (machine = m),
      (error: unknown) => left ?? this.#problem(`start failed: ${String((error as Error).stack)}`),
    );
    await this.#until(
      () => machine !== undefined || left !== undefined || this.#problems.length > 0,
    );
    this.#check();
    if (machine !== undefined && left === undefined) {
      this.#checkNothingLost(machine);
      this.#retryUnanswered(machine);
      const drive = this.#drive(machine, () => left !== undefined);
      let done = false;
      void drive.then(
        () => (done = true),
        (error: unknown) => left ?? this.#problem(String((error as Error).stack)),
      );
      await this.#until(() => done || left !== undefined || this.#problems.length > 0);
      this.#check();
    }
    // It lived through all its operations: the power goes while it is idle.
    if (left === undefined && cutAt !== Infinity) cut();
    if (left === undefined) return undefined;
    if (machine !== undefined) machine.dead = true;
    return left;
  }

  async #start(disk: SimDisk, index: SimKv, state: SimKv): Promise<Machine> {
    const log = await openLog({
      disk,
      kv: index,
      dir: "/log",
      clock: this.#clock,
      rng: this.#rng.fork(`log ${this.#cuts}`),
      flush: this.#options.policy,
      shardCount: SHARDS,
      worker: 0,
      segmentBytes: 64 * 1024,
    });
    const worker = new ActorWorker(
      {
        clock: this.#clock,
        rng: this.#rng.fork(`worker ${this.#cuts}`),
        log,
        store: new KvStateStore(state),
        replication: new MajorityOfOne(log),
        telemetry: noTelemetry,
        monitor: { enter: () => {}, resume: () => {}, leave: () => {} },
        logger: { warn: () => {} },
      },
      {
        ...WORKER_DEFAULTS,
        shardCount: SHARDS,
        // checkpoints every few milliseconds, so that cuts fall into them
        checkpoint: { logBytes: 4_000, dirtyMs: 40, segmentBytes: 64 * 1024 },
        typeDefaults: { ...WORKER_DEFAULTS.typeDefaults, idleDeactivationMs: 60 },
        reminderHorizonMs: 50,
      },
      [Bank],
    );
    const machine: Machine = { disk, index, state, log, worker, dead: false };
    await worker.start();
    return machine;
  }

  /** Lets virtual time pass until `done`. */
  async #until(done: () => boolean): Promise<void> {
    for (let step = 0; !done(); step++) {
      if (step > 20_000) throw new Error(`the world stands still; unanswered: ${this.#waiting()}`);
      await this.#clock.advance(0.5);
    }
  }

  #waiting(): string {
    const ops = this.#ops.filter((o) => o.answer === undefined);
    return ops.map((o) => `${o.id} ${o.method} ${o.actor}→${o.to} attempt ${o.attempt}`).join(", ");
  }

  #problem(text: string): void {
    this.#problems.push(text);
  }

  #check(): void {
    if (this.#problems.length > 0) throw new Error(this.#problems.join("\n"));
  }

  // --- clients ----------------------------------------------------------------------------------------------------------

  #newOp(session: string, seq: number): Op {
    const rng = this.#rng;
    const id = `op${this.#nextOp++}`;
    const actor = rng.pick(ACTORS);
    const to = rng.pick(ACTORS.filter((a) => a !== actor));
    const first = !this.#ops.some((o) => o.actor === actor && o.method === "remind");
    const method = first ? "remind" : rng.pick(["add", "add", "transfer", "post", "post", "fail"]);
    const args: Record<string, unknown[]> = {
      add: [id, 1],
      transfer: [id, to, 1],
      post: [id, to, 1],
      fail: [id],
      remind: [id, 5 + rng.below(20)],
    };
    const op: Op = {
      id,
      session,
      seq,
      actor,
      to,
      method,
      args: encodeArgs(args[method] as unknown[]),
      issuedAt: this.#clock.wallMs() * 1000,
      attempt: 0,
      answer: undefined,
      answeredAtMs: 0,
    };
    this.#ops.push(op);
    return op;
  }

  #unanswered(session: string): Op[] {
    return this.#ops.filter((o) => o.session === session && o.answer === undefined);
  }

  #send(machine: Machine, op: Op): void {
    if (machine.dead || op.answer !== undefined) return;
    const session = machine.worker.session(op.session);
    const floor = Math.min(...this.#unanswered(op.session).map((o) => o.seq));
    session.ackedBelow = Math.max(session.ackedBelow, floor);
    op.attempt++;
    machine.worker.submit({
      session,
      seq: op.seq,
      path: "",
      namespace: "default",
      branch: "main",
      type: "bank",
      key: op.actor,
      method: op.method,
      args: op.args,
      deadlineAtMs: Infinity,
      attempt: op.attempt,
      issuedAt: op.issuedAt,
      consistency: "linearizable",
      idempotencyKey: undefined,
      idempotencyTtlMs: 0,
      traceparent: undefined,
      chain: [],
      sink: {
        reply: (_call: IncomingCall, outcome: Outcome) => this.#answered(machine, op, outcome),
      },
    });
  }

  #answered(machine: Machine, op: Op, outcome: Outcome): void {
    if (machine.dead) return;
    if (outcome.refused === "transient") {
      this.#clock.setTimer(3, () => this.#send(machine, op));
      return;
    }
    const value = outcome.ok ? decodeValue(outcome.bytes) : decodeError(outcome.bytes);
    if (op.answer !== undefined) {
      // A duplicate may be answered, too: alike, or that its answer is no longer kept.
      const gone = !outcome.ok && (value as PinionError).code === "outcome-unknown";
      if (op.answer.ok !== outcome.ok && !gone)
        this.#problem(`${op.id} was answered twice and differently`);
      return;
    }
    op.answer = { ok: outcome.ok, value };
    op.answeredAtMs = this.#clock.nowMs();
    this.#checkAnswer(op, outcome.ok, value);
  }

  #checkAnswer(op: Op, ok: boolean, value: unknown): void {
    const shown = ok ? JSON.stringify(value) : (value as Error).message;
    const right =
      op.method === "fail"
        ? !ok && shown.includes(`no: ${op.id}`)
        : op.method === "transfer"
          ? ok && shown === "[1,1]"
          : ok && shown === "1";
    // A deadlock between two transfers is an answer too: the one that gave way is recorded as failed.
    const deadlock = op.method === "transfer" && !ok && shown.includes("deadlock");
    const interrupted = !ok && shown.includes("cut off");
    if (!right && !deadlock && !interrupted)
      this.#problem(`${op.id} ${op.method} answered ${shown}`);
  }

  #retryUnanswered(machine: Machine): void {
    for (const op of this.#ops) {
      if (op.answer !== undefined) continue;
      this.#retried++;
      this.#send(machine, op);
      // Networks repeat messages.
      if (this.#rng.chance(0.2)) this.#send(machine, op);
    }
  }

  /** Clients at work; in the last life until everything is answered and delivered, and the worker has stopped in order. */
  async #drive(machine: Machine, cut: () => boolean): Promise<void> {
    const wanted = this.#rng.below(40) + 10;
    const last = this.#cuts >= this.#options.cuts;
    for (let sent = 0; sent < wanted;) {
      if (cut()) return;
      for (let c = 0; c < CLIENTS && sent < wanted; c++) {
        const session = `client${c}`;
        if (this.#unanswered(session).length >= PER_CLIENT) continue;
        const seq = this.#ops.filter((o) => o.session === session).length + 1;
        this.#send(machine, this.#newOp(session, seq));
        sent++;
      }
      await this.#tick(this.#rng.below(4));
    }
    if (!last) {
      // Idle for a while: checkpoints, markers and deactivations have their chance to be cut.
      for (let i = 0; i < 200 && !cut(); i++) await this.#tick(1);
      return;
    }
    while (this.#ops.some((o) => o.answer === undefined)) await this.#tick(1);
    for (let i = 0; i < 300; i++) await this.#tick(1);
    await this.#finalCheck(machine.worker);
    await machine.worker.stop(1_000);
    await machine.log.close();
    machine.dead = true;
    const again = await this.#start(machine.disk, machine.index, machine.state);
    if (again.worker.recovery.records > 0)
      this.#problem(`a clean stop left ${again.worker.recovery.records} records to replay`);
    await this.#finalCheck(again.worker);
    again.dead = true;
  }

  #tick(ms: number): Promise<void> {
    return new Promise((resolve) => this.#clock.setTimer(ms, resolve));
  }

  // --- oracle -----------------------------------------------------------------------------------------------------------

  #read(
    worker: ActorWorker,
    actor: string,
  ): Promise<{ total: number; applied: Map<string, number>; dues: Map<number, number> }> {
    return new Promise((resolve, reject) => {
      worker.submit({
        session: worker.session("reader"),
        seq: 1,
        path: "",
        namespace: "default",
        branch: "main",
        type: "bank",
        key: actor,
        method: "read",
        args: encodeArgs([]),
        deadlineAtMs: Infinity,
        attempt: 1,
        issuedAt: 0,
        consistency: "linearizable",
        idempotencyKey: undefined,
        idempotencyTtlMs: 0,
        traceparent: undefined,
        chain: [],
        sink: {
          reply: (_call, outcome) => {
            if (!outcome.ok) return reject(decodeError(outcome.bytes));
            const v = decodeValue(outcome.bytes) as {
              total: number;
              applied: [string, number][];
              dues: [number, number][];
            };
            resolve({ total: v.total, applied: new Map(v.applied), dues: new Map(v.dues) });
          },
        },
      });
    });
  }

  /** Right after a restart: what was answered is there, once. */
  #checkNothingLost(machine: Machine): void {
    const answered = this.#ops.filter((o) => o.answer?.ok === true);
    for (const actor of ACTORS) {
      void this.#read(machine.worker, actor).then(
        (state) => {
          if (machine.dead) return;
          for (const [id, times] of state.applied)
            if (times !== 1) this.#problem(`${id} was applied ${times} times at ${actor}`);
          for (const op of answered) {
            if (op.actor !== actor || state.applied.has(op.id)) continue;
            if (this.#options.policy.replyWaits)
              this.#problem(`${op.id} was answered and is gone after cut ${this.#cuts}`);
          }
        },
        (error: unknown) =>
          machine.dead || this.#problem(`reading ${actor} failed: ${String(error)}`),
      );
    }
  }

  async #finalCheck(worker: ActorWorker): Promise<void> {
    const states = new Map<string, Awaited<ReturnType<World["#read"]>>>();
    for (const actor of [...ACTORS, "nobody"]) states.set(actor, await this.#read(worker, actor));
    let sum = 0;
    for (const [actor, state] of states) {
      sum += state.total;
      for (const [id, times] of state.applied)
        if (times !== 1) this.#problem(`${id} was applied ${times} times at ${actor}`);
      this.#checkDues(actor, state.dues);
    }
    let added = 0;
    for (const op of this.#ops) added += this.#checkOp(op, states);
    if (sum !== added) this.#problem(`the totals are ${sum}, the operations add up to ${added}`);
    this.#check();
  }

  /** Returns what the operation adds to the sum of all totals. */
  #checkOp(op: Op, states: Map<string, { applied: Map<string, number> }>): number {
    const here = states.get(op.actor)?.applied.get(op.id) ?? 0;
    const there = states.get(op.to)?.applied.get(`${op.id}>`) ?? 0;
    const nobody = states.get("nobody")?.applied.get(`${op.id}>`) ?? 0;
    const ok = op.answer?.ok === true;
    const lossy = !this.#options.policy.replyWaits;
    const reaches = op.method === "transfer" || op.method === "post";
    const shown = `${op.id} ${op.method} (${ok ? "answered" : "failed"}): here ${here}, there ${there}`;
    if (nobody !== 0) this.#problem(`${op.id} threw and its send arrived`);
    if (op.method === "fail") {
      if (here !== 0) this.#problem(`${op.id} threw and its change stayed`);
      return 0;
    }
    if (!ok) {
      // A failed transfer changes nothing of its own; the sub-call it had made may stand.
      if (here !== 0) this.#problem(shown);
      return there;
    }
    if (here === 0 && there === 0 && lossy) {
      this.#lost++;
      return 0;
    }
    if (here !== 1 || (reaches && there !== 1)) this.#problem(shown);
    return op.method === "add" ? 1 : 0;
  }

  #checkDues(actor: string, dues: Map<number, number>): void {
    const times = [...dues.keys()].sort((a, b) => a - b);
    this.#firings = Math.max(this.#firings, times.length);
    const gaps = times.slice(1).map((due, i) => due - (times[i] as number));
    const step = Math.min(...gaps);
    times.forEach((due, i) => {
      if (dues.get(due) !== 1)
        this.#problem(`reminder of ${actor} due ${due} ran ${dues.get(due)} times`);
      if (i > 0 && due - (times[i - 1] as number) !== step)
        this.#problem(`reminder of ${actor} skipped a due time before ${due}`);
    });
  }
}
