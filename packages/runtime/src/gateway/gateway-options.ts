/** Options of a gateway: documented, checked, completed and frozen. */
import {
  FRAME_BYTES_MAX_DEFAULT,
  noTelemetry,
  PinionError,
  systemClock,
  type Clock,
  type ShardMapMessage,
  type Telemetry,
} from "@pinion/core";
import type { Dispatcher } from "./dispatcher.ts";

/** Who this worker is, for the Welcome. Asked again whenever a client connects. */
export interface GatewayIdentity {
  readonly clusterId: string;
  readonly host: string;
  readonly incarnation: number;
  readonly worker: number;
  readonly hostVersion: string;
  readonly shardMap: ShardMapMessage;
  /** How long the session of a silent client is kept. */
  readonly sessionExpiryMs: number;
}

export interface GatewayOptions {
  readonly dispatcher: Dispatcher;
  readonly identity: () => GatewayIdentity;
  /** Address to listen on; default 127.0.0.1. Anything but a loopback address needs `insecurePlaintext`. */
  readonly host?: string;
  /** 0: any free port, the default. */
  readonly port?: number;
  /** Serve other machines without encryption. For networks that are trusted or encrypted by other means. Default false. */
  readonly insecurePlaintext?: boolean;
  /** Unanswered calls per stream; default 4,096. */
  readonly maxInFlightPerStream?: number;
  /** Unanswered calls of all streams and unary calls; default 65,536. */
  readonly maxInFlight?: number;
  /** Bytes of the arguments of unanswered calls; default 256 MiB. */
  readonly maxInFlightBytes?: number;
  /** Streams open at once; default 10,000. */
  readonly maxStreams?: number;
  /** Largest gRPC message, bytes, both ways; default 4 MiB. */
  readonly maxFrameBytes?: number;
  /** Replies kept for a client that does not read; beyond it the stream is cut. Default 16 MiB. */
  readonly replyBufferBytesMax?: number;
  /** How long a stream may take to say Hello, ms; default 5,000. */
  readonly helloTimeoutMs?: number;
  /** Silence after which a client is probed, and how long it may take to answer, ms; defaults 30,000 and 10,000. */
  readonly keepaliveMs?: number;
  readonly keepaliveTimeoutMs?: number;
  readonly clock?: Clock;
  readonly telemetry?: Telemetry;
}

export type ResolvedGatewayOptions = Readonly<Required<GatewayOptions>>;

interface Bound {
  readonly min: number;
  readonly max: number;
  readonly byDefault: number;
}

const BOUNDS = {
  port: { min: 0, max: 65_535, byDefault: 0 },
  maxInFlightPerStream: { min: 1, max: 2 ** 20, byDefault: 4096 },
  maxInFlight: { min: 1, max: 2 ** 24, byDefault: 65_536 },
  maxInFlightBytes: { min: 64 * 1024, max: 2 ** 40, byDefault: 256 * 1024 * 1024 },
  maxStreams: { min: 1, max: 2 ** 20, byDefault: 10_000 },
  maxFrameBytes: { min: 256 * 1024, max: 2 ** 30, byDefault: FRAME_BYTES_MAX_DEFAULT },
  replyBufferBytesMax: { min: 64 * 1024, max: 2 ** 32, byDefault: 16 * 1024 * 1024 },
  helloTimeoutMs: { min: 1, max: 2 ** 31 - 1, byDefault: 5_000 },
  keepaliveMs: { min: 100, max: 2 ** 31 - 1, byDefault: 30_000 },
  keepaliveTimeoutMs: { min: 100, max: 2 ** 31 - 1, byDefault: 10_000 },
} as const satisfies Partial<Record<keyof GatewayOptions, Bound>>;

type Bounded = keyof typeof BOUNDS;

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|::1|\[::1\])$/;

/** @throws `config-invalid` naming the key and the rule it breaks. */
export function resolveGatewayOptions(options: GatewayOptions): ResolvedGatewayOptions {
  const bounded = Object.fromEntries(
    (Object.keys(BOUNDS) as Bounded[]).map((key) => [key, checked(key, options[key], BOUNDS[key])]),
  ) as Record<Bounded, number>;
  const host = options.host ?? "127.0.0.1";
  const insecurePlaintext = options.insecurePlaintext ?? false;
  if (!LOOPBACK.test(host) && !insecurePlaintext) {
    throw new PinionError(
      "config-invalid",
      `listening on ${host} would serve other machines unencrypted and without authentication; ` +
        "use a loopback address, or set insecurePlaintext if the network is trusted",
      { details: { key: "host", value: host, needs: "insecurePlaintext" } },
    );
  }
  return Object.freeze({
    ...bounded,
    dispatcher: options.dispatcher,
    identity: options.identity,
    host,
    insecurePlaintext,
    clock: options.clock ?? systemClock,
    telemetry: options.telemetry ?? noTelemetry,
  });
}

function checked(key: Bounded, value: number | undefined, bound: Bound): number {
  if (value === undefined) return bound.byDefault;
  if (Number.isInteger(value) && value >= bound.min && value <= bound.max) return value;
  throw new PinionError(
    "config-invalid",
    `gateway option ${key} is ${value}; it must be a whole number from ${bound.min} to ${bound.max}`,
    { details: { key, value: String(value) } },
  );
}
