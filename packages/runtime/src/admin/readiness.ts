/**
 * Whether this host makes progress: not that it is alive, but that it can commit. Each worker is asked to commit a record that
 * says nothing, every `IDLE_PROBE_MS`, and at least every `ASKED_PROBE_MS` while somebody asks.
 *
 * D1 ready means: every worker is up, its event loop turns, and a probe was committed within `RECENT_MS`.
 * D2 asking costs bounded time, whatever the workers do.
 * D3 what is wrong but keeps nobody from committing is a warning: it does not take a host out of service.
 */
import { isPinionError, messageOf, type Clock, type Timer } from "@pinion/core";
import type { AdminHost, AdminWorker, BlockedTurn, Degradation } from "./admin-host.ts";
import { SLOW_TURN_MS, type WorkerStatus } from "./worker-requests.ts";

export const IDLE_PROBE_MS = 5_000;
export const ASKED_PROBE_MS = 1_000;
export const RECENT_MS = 2_500;
const PROBE_TIMEOUT_MS = 10_000;
/** How long an answer to "/ready" waits for a probe and for the workers' status. */
const PATIENCE_MS = 1_000;
/** A logical clock this far ahead says that the wall clock was set back. */
const CLOCK_AHEAD_MS = 1_000;

export interface Finding {
  readonly code: string;
  readonly message: string;
  readonly worker?: number;
  /** Actor id, text form. */
  readonly actor?: string;
  readonly method?: string;
  readonly call?: string;
}

export interface ReadyReport {
  readonly ready: boolean;
  /** Why it is not ready. */
  readonly problems: readonly Finding[];
  readonly warnings: readonly Finding[];
  readonly degraded: readonly Degradation[];
  readonly workers: readonly {
    readonly worker: number;
    readonly condition: string;
    /** Of the last committed probe; null before the first. */
    readonly probeAgeMs: number | null;
    readonly probeTookMs: number | null;
  }[];
}

interface Probed {
  readonly worker: AdminWorker;
  okAtMs: number | undefined;
  tookMs: number | undefined;
  /** Why the last probe failed. */
  error: string | undefined;
  running: Promise<void> | undefined;
  startedAtMs: number;
}

export class Readiness {
  readonly #host: AdminHost;
  readonly #clock: Clock;
  readonly #probed: Probed[];
  readonly #onProbe: (worker: number, tookMs: number) => void;
  #timer: Timer | undefined;

  /** @param onProbe told how long each committed probe took */
  constructor(
    host: AdminHost,
    clock: Clock,
    onProbe: (worker: number, tookMs: number) => void = () => {},
  ) {
    this.#host = host;
    this.#clock = clock;
    this.#onProbe = onProbe;
    this.#probed = host.workers.map((worker) => ({
      worker,
      okAtMs: undefined,
      tookMs: undefined,
      error: undefined,
      running: undefined,
      startedAtMs: -Infinity,
    }));
  }

  start(): void {
    this.probeNow();
    this.#timer?.cancel();
    this.#timer = this.#clock.setTimer(IDLE_PROBE_MS, () => this.start());
  }

  stop(): void {
    this.#timer?.cancel();
  }

  probeNow(): void {
    for (const probed of this.#probed) this.#probe(probed);
  }

  async report(): Promise<ReadyReport> {
    const statuses = await Promise.all(this.#probed.map((probed) => this.#look(probed)));
    const problems = this.#probed.flatMap((probed) => this.#problemsOf(probed));
    const warnings = statuses.flatMap((status) => (status === undefined ? [] : warningsOf(status)));
    const reloadError = this.#host.reloadError();
    if (reloadError !== null) {
      const message = `the changed module was not loaded, the old one goes on: ${reloadError}`;
      warnings.push({ code: "reload-failed", message });
    }
    const nowMs = this.#clock.nowMs();
    return {
      ready: problems.length === 0,
      problems,
      warnings,
      degraded: this.#host.degraded(),
      workers: this.#probed.map(({ worker, okAtMs, tookMs }) => ({
        worker: worker.index,
        condition: worker.condition().state,
        probeAgeMs: okAtMs === undefined ? null : Math.round(nowMs - okAtMs),
        probeTookMs: tookMs ?? null,
      })),
    };
  }

  /** Gives the worker a chance to prove itself, and asks how it is (D2). */
  async #look(probed: Probed): Promise<WorkerStatus | undefined> {
    const { worker } = probed;
    if (worker.condition().state !== "up") return undefined;
    if (this.#clock.nowMs() - probed.startedAtMs >= ASKED_PROBE_MS) this.#probe(probed);
    const patience = new Promise<void>((resolve) => this.#clock.setTimer(PATIENCE_MS, resolve));
    const [status] = await Promise.all([
      worker.request("status", null, PATIENCE_MS).catch(() => undefined),
      Promise.race([probed.running, patience]),
    ]);
    return status;
  }

  #probe(probed: Probed): void {
    const { worker } = probed;
    if (probed.running !== undefined || worker.condition().state !== "up") return;
    const startedAtMs = this.#clock.nowMs();
    probed.startedAtMs = startedAtMs;
    probed.running = worker.request("probe", null, PROBE_TIMEOUT_MS).then(
      ({ tookMs }) => {
        // What was committed proves the time at which it was asked for, not the time of the answer.
        probed.okAtMs = startedAtMs;
        probed.tookMs = Math.round(tookMs * 1000) / 1000;
        probed.error = undefined;
        probed.running = undefined;
        this.#onProbe(worker.index, tookMs);
      },
      (error: unknown) => {
        probed.error = isPinionError(error) ? `${error.code}: ${error.message}` : messageOf(error);
        probed.running = undefined;
      },
    );
  }

  #problemsOf(probed: Probed): Finding[] {
    const { worker, okAtMs, error } = probed;
    const condition = worker.condition();
    const at = { worker: worker.index };
    switch (condition.state) {
      case "up":
        break;
      case "blocked":
        return [blockedFinding(worker.index, condition.forMs, condition.turn)];
      case "restarting":
        return [
          {
            ...at,
            code: "restarting",
            message: `worker ${worker.index} starts again in ${condition.inMs} ms: ${condition.reason}`,
          },
        ];
      case "failed":
        return [
          {
            ...at,
            code: "failed",
            message: `worker ${worker.index} has failed: ${condition.reason}`,
          },
        ];
      case "starting":
      case "reloading":
        return [
          {
            ...at,
            code: condition.state,
            message: `worker ${worker.index} is ${condition.state}`,
          },
        ];
    }
    if (error !== undefined)
      return [
        { ...at, code: "no-commit", message: `worker ${worker.index} cannot commit: ${error}` },
      ];
    const ageMs = okAtMs === undefined ? Infinity : this.#clock.nowMs() - okAtMs;
    if (ageMs <= RECENT_MS) return [];
    const since = ageMs === Infinity ? "yet" : `for ${Math.round(ageMs)} ms`;
    return [
      {
        ...at,
        code: "no-commit",
        message: `worker ${worker.index} has committed no probe ${since}`,
      },
    ];
  }
}

export function blockedFinding(worker: number, forMs: number, turn: BlockedTurn | null): Finding {
  if (turn === null) {
    return {
      code: "blocked",
      worker,
      message: `the event loop of worker ${worker} has been blocked for ${forMs} ms, outside of any turn`,
    };
  }
  const { actor, method, call, exact } = turn;
  const place = exact ? "in" : "probably in";
  const name = call === "" ? "" : ` (call ${call})`;
  return {
    code: "blocked",
    worker,
    actor,
    method,
    call,
    message: `the event loop of worker ${worker} has been blocked for ${forMs} ms ${place} ${method} of ${actor}${name}`,
  };
}

function warningsOf(status: WorkerStatus): Finding[] {
  const { worker, archive, checkpoint, disk, log, slowTurns, clockAheadMs } = status;
  const found: Finding[] = [];
  const warn = (code: string, message: string): number => found.push({ code, message, worker });
  if (archive.state === "failing" || archive.state === "behind") {
    warn(
      "archive",
      `the archive is ${archive.state}, ${archive.backlogSegments} segments wait: ${archive.error ?? "no error"}`,
    );
  }
  if (checkpoint.lastError !== null)
    warn("checkpoint", `the last checkpoint failed and is tried again: ${checkpoint.lastError}`);
  if (disk.freeBytes < disk.neededBytes) {
    const mib = (bytes: number): string => `${Math.floor(bytes / 2 ** 20)} MiB`;
    warn(
      "disk",
      `${mib(disk.freeBytes)} are free on the disk, ${mib(disk.neededBytes)} are needed`,
    );
  }
  for (const trouble of log.troubles) warn("log", trouble);
  if (clockAheadMs > CLOCK_AHEAD_MS)
    warn("clock", `the wall clock is ${clockAheadMs} ms behind what this host has already stamped`);
  for (const turn of slowTurns) {
    const state = turn.abandoned ? "was given up and still runs" : "runs";
    found.push({
      code: "slow-turn",
      worker,
      actor: turn.actor,
      method: turn.method,
      call: turn.call,
      message: `${turn.method} of ${turn.actor} ${state}, for ${turn.ageMs} ms (more than ${SLOW_TURN_MS})`,
    });
  }
  return found;
}
