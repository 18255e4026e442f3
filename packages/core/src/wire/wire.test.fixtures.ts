/** Arbitrary wire messages, writers of whole frames, and protobufjs reading the .proto, for the codec's tests. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import protobuf from "protobufjs";
import { DEFAULT_NAMESPACE, MAIN_BRANCH } from "../actor-id.ts";
import type { Consistency } from "../actor-type.ts";
import { isPinionError } from "../errors.ts";
import { ByteWriter } from "./byte-writer.ts";
import {
  openCall,
  openCallArgs,
  writeCallHeader,
  writeCancel,
  writeClientFrameEnd,
  writeHello,
} from "./client-frame-codec.ts";
import { decodeHostFrame } from "./host-frame-codec.ts";
import {
  CallMessage,
  type ClientFrame,
  type Hello,
  type HostFrame,
  type Welcome,
} from "./messages.ts";
import { closeLength } from "./proto-writer.ts";
import { NO_ARGS } from "./values.ts";

export const text = fc.string({ unit: "grapheme", maxLength: 60 });
export const name = fc.stringMatching(/^[A-Za-z][A-Za-z0-9_.-]{0,20}$/);
export const uint = fc.oneof(fc.nat(), fc.maxSafeInteger().map(Math.abs));
export const uint32 = fc.oneof(fc.nat(200), fc.nat(0xffffffff));
const bytes = fc.uint8Array({ minLength: 1, maxLength: 300 }).map((b) => new Uint8Array(b));
export const consistency = fc.constantFrom<Consistency>("linearizable", "quorum", "eventual");

export const hello: fc.Arbitrary<Hello> = fc.record({
  protocolVersion: uint32,
  sessionId: text,
  features: fc.array(text, { maxLength: 4 }),
  bearerToken: text,
  principal: text,
  clientName: text,
});

export const call: fc.Arbitrary<CallMessage> = fc
  .record({
    seq: uint.map((n) => Math.max(1, n)),
    type: name,
    key: text,
    method: name,
    args: fc.oneof(fc.constant(NO_ARGS), bytes),
    timeoutMs: uint32,
    attempt: uint32.map((n) => Math.max(1, n)),
    issuedAtUs: uint.map((n) => Math.max(1, n)),
    consistency,
    oneWay: fc.boolean(),
    namespace: fc.oneof(fc.constant(DEFAULT_NAMESPACE), name),
    branch: fc.oneof(fc.constant(MAIN_BRANCH), name),
    idempotencyKey: fc.option(
      text.filter((t) => t !== ""),
      { nil: undefined },
    ),
    idempotencyTtlMs: uint,
    traceparent: fc.option(
      text.filter((t) => t !== ""),
      { nil: undefined },
    ),
    path: text,
    chain: fc.array(text, { maxLength: 4 }),
    term: uint,
    principal: text,
  })
  .map((fields) => Object.assign(new CallMessage(), fields));

export const clientFrame: fc.Arbitrary<ClientFrame> = fc.record({
  hello: fc.option(hello, { nil: undefined }),
  calls: fc.array(call, { maxLength: 8 }),
  cancels: fc.array(uint, { maxLength: 5 }),
  ackedBelow: uint,
  hlcUs: uint,
});

export const welcome: fc.Arbitrary<Welcome> = fc
  .record({
    shardCount: fc.integer({ min: 1, max: 300 }),
    workers: fc.array(fc.record({ host: text, worker: uint32, address: text }), {
      minLength: 1,
      maxLength: 4,
    }),
    withMap: fc.boolean(),
    version: uint,
    rest: fc.record({
      protocolVersion: uint32,
      clusterId: text,
      host: text,
      incarnation: uint,
      actorTypes: fc.array(
        fc.record({
          name,
          methods: fc.array(fc.record({ name, readonly: fc.boolean() }), { maxLength: 4 }),
        }),
        { maxLength: 4 },
      ),
      limits: fc.record({
        maxInFlight: uint32.map((n) => Math.max(1, n)),
        maxFrameBytes: uint32.map((n) => Math.max(1, n)),
        sessionExpiryMs: uint,
      }),
      features: fc.array(text, { maxLength: 3 }),
      hostVersion: text,
      worker: uint32,
    }),
  })
  .map(({ shardCount, workers, withMap, version, rest }) => ({
    ...rest,
    shardMap: {
      shardCount,
      workers,
      owners: withMap ? Array.from({ length: shardCount }, (_, i) => i % workers.length) : [],
      terms: withMap ? Array.from({ length: shardCount }, (_, i) => i * 1000) : [],
      version,
    },
  }));

/** Appends one call as a client does. */
export function writeCall(w: ByteWriter, message: CallMessage): void {
  const at = openCall(w);
  writeCallHeader(
    w,
    message.seq,
    message,
    message.method,
    message.timeoutMs,
    message.attempt,
    message.issuedAtUs,
    message,
  );
  if (message.args !== NO_ARGS) {
    const argsAt = openCallArgs(w);
    w.bytes(message.args);
    closeLength(w, argsAt);
  }
  closeLength(w, at);
}

export function encodeClientFrame(frame: ClientFrame): Uint8Array {
  const w = new ByteWriter();
  if (frame.hello !== undefined) writeHello(w, frame.hello);
  for (const message of frame.calls) writeCall(w, message);
  for (const seq of frame.cancels) writeCancel(w, seq);
  writeClientFrameEnd(w, frame.ackedBelow, frame.hlcUs);
  return w.take();
}

// ---------------------------------------------------------------- protobufjs as the oracle

const schema = protobuf.parse(readFileSync(new URL("./actor.proto", import.meta.url), "utf8"), {
  keepCase: false,
}).root;
export const typeOf = (name: string): protobuf.Type => schema.lookupType(`pinion.v1.${name}`);
export const CONSISTENCIES = ["linearizable", "quorum", "eventual"] as const;

/** A message as protobufjs reads it, with every field present. */
export function read(type: string, bytes: Uint8Array): Record<string, unknown> {
  const t = typeOf(type);
  return t.toObject(t.decode(bytes), {
    longs: Number,
    bytes: Array,
    defaults: true,
    arrays: true,
  }) as Record<string, unknown>;
}

export const write = (type: string, value: object): Uint8Array =>
  typeOf(type).encode(typeOf(type).fromObject(value)).finish();

export const plainBytes = (bytes: Uint8Array): Uint8Array => Uint8Array.from(bytes);

/** A call in the terms of the .proto. */
export function protoCall(call: CallMessage): Record<string, unknown> {
  return {
    ...Object.fromEntries(Object.entries(call)),
    args: call.args === NO_ARGS ? [] : [...call.args],
    attempt: call.attempt === 1 ? 0 : call.attempt,
    consistency: CONSISTENCIES.indexOf(call.consistency),
    namespace: call.namespace === "default" ? "" : call.namespace,
    branch: call.branch === "main" ? "" : call.branch,
    idempotencyKey: call.idempotencyKey ?? "",
    traceparent: call.traceparent ?? "",
    streamId: 0,
  };
}

export function protoClientFrame(frame: ClientFrame): Record<string, unknown> {
  return {
    hello: frame.hello ?? null,
    calls: frame.calls.map(protoCall),
    cancels: frame.cancels.map((seq) => ({ seq })),
    ackedBelow: frame.ackedBelow,
    hlcUs: frame.hlcUs,
    ackedRanges: [],
  };
}

/** Our frame with its bytes as plain Uint8Arrays, for comparison. */
export function plain(frame: ClientFrame): ClientFrame {
  const calls = frame.calls.map((call) =>
    Object.assign(new CallMessage(), call, { args: plainBytes(call.args) }),
  );
  return { ...frame, calls };
}

export interface ReadReply {
  readonly seq: number;
  readonly ok: boolean;
  readonly result: Uint8Array;
  readonly lsn: number;
  readonly shard: number;
}

export function readHostFrame(bytes: Uint8Array): { frame: HostFrame; replies: ReadReply[] } {
  const replies: ReadReply[] = [];
  const frame = decodeHostFrame(bytes, {
    onReply: (seq, ok, from, start, end, lsn, shard) =>
      void replies.push({ seq, ok, result: plainBytes(from.subarray(start, end)), lsn, shard }),
  });
  return { frame, replies };
}

export function codeOf(run: () => unknown): string {
  try {
    run();
    return "none";
  } catch (e) {
    if (isPinionError(e)) return e.code;
    throw e;
  }
}
