/** Options of `connect`: documented, checked, completed and frozen. */
import {
  FRAME_BYTES_MAX_DEFAULT,
  noTelemetry,
  randomSeed,
  resolveOptions,
  seededRng,
  startSpan,
  systemClock,
  tracingEnabled,
  type Clock,
  type OptionDefinition,
  type OptionSet,
  type Rng,
  type Telemetry,
} from "@pinion/core";
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

type PlainOptions = Omit<ResolvedClientOptions, "clock" | "rng" | "telemetry" | "onEvent">;

/** By hand: a schema library would be the largest thing a client loads. */
function schemaOf<T>(holds: (value: unknown) => value is T): OptionDefinition<T>["schema"] {
  return { "~standard": { validate: (value) => (holds(value) ? { value } : { issues: [value] }) } };
}

function number(
  description: string,
  [min, max]: readonly [number, number],
  byDefault: number,
): OptionDefinition<number> {
  return {
    description,
    rule: `a whole number from ${min} to ${max}`,
    schema: schemaOf(
      (value): value is number =>
        typeof value === "number" && Number.isInteger(value) && value >= min && value <= max,
    ),
    default: byDefault,
  };
}

function text(description: string, lengthMax: number, byDefault: string): OptionDefinition<string> {
  return {
    description,
    rule: `a text of at most ${lengthMax} characters`,
    schema: schemaOf(
      (value): value is string => typeof value === "string" && value.length <= lengthMax,
    ),
    default: byDefault,
  };
}

/** The longest a timer of the platform can wait. */
const MS_MAX = 2 ** 31 - 1;

const OPTIONS: OptionSet<PlainOptions> = {
  section: "client",
  definitions: {
    connectTimeoutMs: number("How long connect tries.", [1, MS_MAX], 10_000),
    timeoutMs: number("Deadline of calls that set none; 0: none.", [0, MS_MAX], 0),
    retryHorizonMs: number("How long a call is retried.", [0, MS_MAX], 120_000),
    overloadRetries: number("Retries after overloaded.", [0, 1000], 5),
    maxInFlight: number("Calls in flight per worker.", [1, 2 ** 20], 4096),
    maxPending: number("Calls in flight and waiting.", [1, 2 ** 20], 65_536),
    reconnectDelayMsMin: number("First delay between attempts.", [1, MS_MAX], 50),
    reconnectDelayMsMax: number("Longest delay between attempts.", [1, MS_MAX], 5_000),
    keepaliveMs: number("Silence after which a host is probed.", [100, MS_MAX], 10_000),
    keepaliveTimeoutMs: number("How long it may take to answer.", [100, MS_MAX], 5_000),
    maxFrameBytes: number("Largest message.", [64 * 1024, 2 ** 30], FRAME_BYTES_MAX_DEFAULT),
    bearerToken: text("Credentials.", 16 * 1024, ""),
    clientName: text("For the host's logs.", 128, "pinion-ts"),
  },
  relations: [
    {
      keys: ["reconnectDelayMsMin", "reconnectDelayMsMax"],
      rule: "reconnectDelayMsMin ≤ reconnectDelayMsMax",
      holds: (values) => values.reconnectDelayMsMin <= values.reconnectDelayMsMax,
    },
  ],
};

/** Asked once, not per call: looking the provider up costs as much as encoding a call. */
function spansOnly(): Telemetry {
  return tracingEnabled() ? { ...noTelemetry, tracing: true, span: startSpan } : noTelemetry;
}

/** @throws `config-invalid` naming the key, its value and the rule it breaks, or the key that was probably meant. */
export function resolveClientOptions(options: ClientOptions = {}): ResolvedClientOptions {
  const { clock, rng, telemetry, onEvent, ...plain } = options;
  return Object.freeze({
    ...resolveOptions(OPTIONS, { argument: plain }).values,
    clock: clock ?? systemClock,
    rng: rng ?? seededRng(randomSeed()),
    telemetry: telemetry ?? spansOnly(),
    onEvent: onEvent ?? (() => {}),
  });
}
