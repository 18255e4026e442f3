/**
 * Real SIGKILLs: a host process under load from client processes is killed at random moments, while it serves, checkpoints or
 * starts, and started again on what is left; the clients go on by themselves. kill-oracle.ts says what must hold.
 */
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connect, type Client } from "@pinion/client";
import { seededRng, systemClock, type Rng } from "@pinion/core";
import { describeFlushPolicy, type FlushPolicy } from "@pinion/storage";
import { ALL_PLACES, placeText } from "../../simulation/actor-ops.ts";
import type { Shown } from "../../simulation/bank-actor.ts";
import { eventually } from "../eventually.ts";
import { HostProcess } from "../host-process.ts";
import { ROOT } from "../program.ts";
import { temporaryDir } from "../temporary-dir.ts";
import { ClientProcess } from "./client-process.ts";
import { KillOracle } from "./kill-oracle.ts";

const MODULE = join(ROOT, "test/support/kills/bank-module.ts");
const CLIENTS = 2;
/** A host is killed during its start up to so long after it was spawned. */
const START_MS_MAX = 600;

export interface KillOptions {
  readonly policy: FlushPolicy;
  readonly kills: number;
  readonly seed: number;
}

export interface KillReport {
  readonly kills: number;
  /** Of them, before the host served. */
  readonly duringStart: number;
  readonly calls: number;
  readonly lost: number;
  /** Records the starts had to replay, together. */
  readonly replayed: number;
}

/** @throws the first violation, with seed and policy */
export async function runHostKills(options: KillOptions): Promise<KillReport> {
  await using dir = await temporaryDir();
  await using run = new KillRun(options, dir.path);
  try {
    return await run.run();
  } catch (error) {
    throw new Error(
      `policy ${options.policy.name}, seed ${options.seed}: ${(error as Error).message}`,
      { cause: error },
    );
  }
}

class KillRun implements AsyncDisposable {
  readonly #options: KillOptions;
  readonly #dataDir: string;
  readonly #rng: Rng;
  readonly #oracle: KillOracle;
  readonly #clients: ClientProcess[] = [];
  #host: HostProcess | undefined;
  #port = 0;
  #reader: Client | undefined;
  #duringStart = 0;
  #replayed = 0;

  constructor(options: KillOptions, dataDir: string) {
    this.#options = options;
    this.#dataDir = dataDir;
    this.#rng = seededRng(options.seed);
    this.#oracle = new KillOracle(options.policy);
  }

  async run(): Promise<KillReport> {
    await this.#start();
    for (let n = 0; n < CLIENTS; n++) this.#clients.push(this.#client(`c${n}`));
    for (let kills = 0; kills < this.#options.kills;) {
      kills += await this.#killAndCheck(this.#options.kills - kills);
    }
    await this.#finish();
    return {
      kills: this.#options.kills,
      duringStart: this.#duringStart,
      calls: this.#oracle.asked,
      lost: this.#oracle.lost,
      replayed: this.#replayed,
    };
  }

  #client(name: string): ClientProcess {
    const { seed } = this.#options;
    return new ClientProcess(
      { endpoint: `127.0.0.1:${this.#port}`, name, seed, concurrency: 8, pauseMs: 4 },
      (said) => this.#oracle.heard(said),
    );
  }

  #spawn(): HostProcess {
    return new HostProcess({
      dataDir: this.#dataDir,
      module: MODULE,
      port: this.#port,
      flushPolicy: describeFlushPolicy(this.#options.policy),
      // Small enough that segments end and checkpoints run all the time.
      segmentBytes: 256 * 1024,
      stagingBytes: 256 * 1024,
      checkpointLogBytes: 1024 * 1024,
      checkpointDirtyMs: 100,
      idleDeactivationMs: 200,
    });
  }

  async #start(): Promise<void> {
    const host = (this.#host = this.#spawn());
    const { endpoint } = await host.serving();
    this.#port = Number(endpoint.slice(endpoint.lastIndexOf(":") + 1));
    const replayed = /recoveredRecords=(\d+)/.exec(host.program.stderr)?.[1];
    this.#replayed += Number(replayed ?? 0);
    this.#reader ??= await connect(endpoint);
  }

  /** Returns how many kills it was. */
  async #killAndCheck(max: number): Promise<number> {
    await this.#oracle.moreAnswers(1 + this.#rng.below(this.#rng.chance(0.3) ? 5 : 250));
    await delay(this.#rng.float() * 20); // anywhere between two answers
    const killedAtMs = systemClock.wallMs();
    await this.#host?.kill();
    let kills = 1;
    // What was answered until then: an answer may have been on its way to us.
    const before = this.#oracle.answeredOps;
    while (kills < max && this.#rng.chance(0.3)) {
      const host = (this.#host = this.#spawn());
      await delay(this.#rng.float() * START_MS_MAX);
      await host.kill();
      this.#duringStart++;
      kills++;
    }
    await this.#start();
    const states = await this.#states();
    this.#oracle.checkKill(before, states, killedAtMs);
    this.#check();
    return kills;
  }

  async #states(): Promise<Map<string, Shown>> {
    const states = new Map<string, Shown>();
    await Promise.all(
      ALL_PLACES.map(async (place) => {
        const space = (this.#reader as Client).namespace(place.namespace);
        const shown = (await space.call(place.type, place.key, "read")) as Shown;
        states.set(placeText(place), shown);
        this.#oracle.checkState(place, shown);
      }),
    );
    return states;
  }

  #check(): void {
    const { problems } = this.#oracle;
    if (problems.length > 0) throw new Error(problems.slice(0, 10).join("\n"));
  }

  async #finish(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.finish()));
    const settled = await eventually("every send arrives", async () => {
      const states = await this.#states();
      const missing = this.#oracle.missing(states);
      if (missing.length > 0) throw new Error(missing.slice(0, 10).join(", "));
      return states;
    });
    this.#oracle.checkEnd(settled);
    this.#check();
    await this.#host?.stop();
    const before = this.#replayed;
    await this.#start();
    if (this.#replayed !== before) throw new Error("a stop in order left records to replay");
    this.#oracle.checkEnd(await this.#states());
    this.#check();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) await client[Symbol.asyncDispose]();
    await this.#reader?.close(0);
    await this.#host?.[Symbol.asyncDispose]();
  }
}
