/** Options of `connect`: documented, checked, completed and frozen. */
import {
  FRAME_BYTES_MAX_DEFAULT,
  messageOf,
  noTelemetry,
  PinionError,
  randomSeed,
  seededRng,
  startSpan,
  systemClock,
  tracingEnabled,
  type Clock,
  type Rng,
  type Telemetry,
} from "@pinion/core";
import { z } from "zod";
import type { ClientEvent } from "./events.ts";

export interface ClientOptions {
  /** How long `connect` tries before it gives up, ms; default 10,000. */
  readonly connectTimeoutMs?: number;
  /** Deadline of calls that set none, ms; 0 = none, the default. */
  readonly timeoutMs?: number;
  /**
   * How long a call is retried after its connection was lost, ms; default 120,000. Kept below half of the host's session expiry,
   * because a retry after that could not be told from a new call.
   */
  readonly retryHorizonMs?: number;
  /** Times a call is sent again after `overloaded` before the caller gets that error; default 5. */
  readonly overloadRetries?: number;
  /** Calls in flight per worker; the host may allow fewer. Default 4,096. */
  readonly maxInFlight?: number;
  /** Calls in flight and waiting, all in all; one more is refused with `overloaded`. Default 65,536. */
  readonly maxPending?: number;
  /** First and longest delay between attempts to reconnect, ms; defaults 50 and 5,000. Jittered. */
  readonly reconnectDelayMsMin?: number;
  readonly reconnectDelayMsMax?: number;
  /** Silence after which the connection is probed, and how long an answer may take, ms; defaults 10,000 and 5,000. */
  readonly keepaliveMs?: number;
  readonly keepaliveTimeoutMs?: number;
  /** Largest message accepted from a host, bytes; default 4 MiB. */
  readonly maxFrameBytes?: number;
  readonly bearerToken?: string;
  /** For the host's logs and statistics. */
  readonly clientName?: string;
  /** Connections gained and lost, for logging. Must not throw. */
  readonly onEvent?: (event: ClientEvent) => void;
  /** Default: spans through OpenTelemetry if a provider is registered by now, and no metrics (`stats()` has them). */
  readonly telemetry?: Telemetry;
  readonly clock?: Clock;
  readonly rng?: Rng;
}

export type ResolvedClientOptions = Readonly<Required<ClientOptions>>;

const ms = (defaultMs: number, min = 0) =>
  z
    .number()
    .min(min)
    .max(2 ** 31 - 1)
    .default(defaultMs);
const count = (defaultCount: number) =>
  z
    .int()
    .min(1)
    .max(2 ** 20)
    .default(defaultCount);

const schema = z.strictObject({
  connectTimeoutMs: ms(10_000, 1),
  timeoutMs: ms(0),
  retryHorizonMs: ms(120_000),
  overloadRetries: z.int().min(0).max(1000).default(5),
  maxInFlight: count(4096),
  maxPending: count(65_536),
  reconnectDelayMsMin: ms(50, 1),
  reconnectDelayMsMax: ms(5_000, 1),
  keepaliveMs: ms(10_000, 100),
  keepaliveTimeoutMs: ms(5_000, 100),
  maxFrameBytes: z
    .int()
    .min(64 * 1024)
    .max(1024 * 1024 * 1024)
    .default(FRAME_BYTES_MAX_DEFAULT),
  bearerToken: z
    .string()
    .max(16 * 1024)
    .default(""),
  clientName: z.string().max(128).default("pinion-ts"),
});

/** Asked once, not per call: looking the provider up costs as much as encoding a call. */
function spansOnly(): Telemetry {
  return tracingEnabled() ? { ...noTelemetry, tracing: true, span: startSpan } : noTelemetry;
}

/** @throws `config-invalid` naming the key and what is wrong with it. */
export function resolveClientOptions(options: ClientOptions = {}): ResolvedClientOptions {
  const { clock, rng, telemetry, onEvent, ...plain } = options;
  const parsed = schema.safeParse(plain);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const key = issue?.path.join(".") ?? "";
    throw new PinionError(
      "config-invalid",
      `connect option ${key === "" ? "" : `${key}: `}${issue?.message ?? messageOf(parsed.error)}`,
      {
        details: { key },
      },
    );
  }
  const { reconnectDelayMsMin, reconnectDelayMsMax } = parsed.data;
  if (reconnectDelayMsMin > reconnectDelayMsMax) {
    throw new PinionError(
      "config-invalid",
      `connect option reconnectDelayMsMin (${reconnectDelayMsMin}) exceeds reconnectDelayMsMax (${reconnectDelayMsMax})`,
      { details: { key: "reconnectDelayMsMin" } },
    );
  }
  return Object.freeze({
    ...parsed.data,
    clock: clock ?? systemClock,
    rng: rng ?? seededRng(randomSeed()),
    telemetry: telemetry ?? spansOnly(),
    onEvent: onEvent ?? (() => {}),
  });
}
