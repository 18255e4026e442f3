/** Channel options for grpc-js, each with its reason, and what its statuses mean. */
import { status, type ChannelOptions, type StatusObject } from "@grpc/grpc-js";
import { decodeError, PinionError, type ErrorCode } from "@pinion/core";
import { ERROR_TRAILER } from "./grpc-paths.ts";

export interface ChannelTuning {
  readonly keepaliveMs: number;
  readonly keepaliveTimeoutMs: number;
  readonly maxFrameBytes: number;
}

export function channelOptions(tuning: ChannelTuning): ChannelOptions {
  return {
    "grpc.keepalive_time_ms": tuning.keepaliveMs,
    "grpc.keepalive_timeout_ms": tuning.keepaliveTimeoutMs,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.max_receive_message_length": tuning.maxFrameBytes,
    "grpc.max_send_message_length": -1,
    // Retries are ours, with the same call ids. gRPC's would keep a copy of everything sent on the stream.
    "grpc.enable_retries": 0,
    "grpc.service_config_disable_resolution": 1,
    // Every attempt to connect is one of ours, with our own backoff: a shared pool would add gRPC's to it.
    "grpc.use_local_subchannel_pool": 1,
    "grpc.enable_channelz": 0,
    // Actor traffic stays inside the cluster's network: a proxy meant for the web would only break it.
    "grpc.enable_http_proxy": 0,
    // HTTP/2's default of 64 KiB stalls a stream that carries large values.
    "grpc-node.flow_control_window": 4 * 1024 * 1024,
  };
}

/** Codes for statuses that did not come from a Pinion gateway's own error. */
const CODE_OF_STATUS: Readonly<Partial<Record<status, ErrorCode>>> = {
  [status.UNAUTHENTICATED]: "unauthenticated",
  [status.PERMISSION_DENIED]: "permission-denied",
  [status.DEADLINE_EXCEEDED]: "deadline-exceeded",
};

/** Why a stream or unary call ended, as one of our errors. */
export function errorOfStatus(
  s: Pick<StatusObject, "code" | "details" | "metadata">,
  address: string,
): PinionError {
  const [own] = s.metadata?.get(ERROR_TRAILER) ?? [];
  if (own instanceof Buffer) {
    try {
      return decodeError(own);
    } catch {
      // not ours after all: the status itself says enough
    }
  }
  if (s.code === status.UNIMPLEMENTED) {
    return new PinionError(
      "unavailable",
      `${address} speaks gRPC but serves no pinion.v1.Gateway`,
      {
        retry: "never",
        details: { address },
      },
    );
  }
  if (s.code === status.RESOURCE_EXHAUSTED && s.details.includes("larger than")) {
    return new PinionError("frame-too-large", `${address}: ${s.details}`, { details: { address } });
  }
  const code = CODE_OF_STATUS[s.code] ?? "unavailable";
  return new PinionError(code, `${address}: ${s.details}`, {
    details: { address, grpcStatus: status[s.code] ?? s.code },
  });
}
