/** Welcome ↔ bytes (actor.proto): who the host is, its shard map, actor types and limits. Once per connection. */
import { SHARD_COUNT_MAX } from "../lsn.ts";
import type { ByteWriter } from "./byte-writer.ts";
import {
  FRAME_BYTES_MAX_DEFAULT,
  type ActorTypeMessage,
  type LimitsMessage,
  type MethodMessage,
  type ShardMapMessage,
  type Welcome,
  type WorkerEndpoint,
} from "./messages.ts";
import { ProtoReader } from "./proto-reader.ts";
import {
  BYTES,
  closeLength,
  openLength,
  VARINT,
  writeBool,
  writeText,
  writeTextItem,
  writeUint,
  writeVarint,
} from "./proto-writer.ts";

const WELCOME_VERSION = (1 << 3) | VARINT;
const WELCOME_CLUSTER_ID = (2 << 3) | BYTES;
const WELCOME_HOST = (3 << 3) | BYTES;
const WELCOME_INCARNATION = (4 << 3) | VARINT;
const WELCOME_SHARD_MAP = (5 << 3) | BYTES;
const WELCOME_ACTOR_TYPES = (6 << 3) | BYTES;
const WELCOME_LIMITS = (7 << 3) | BYTES;
const WELCOME_FEATURES = (8 << 3) | BYTES;
const WELCOME_HOST_VERSION = (9 << 3) | BYTES;
const WELCOME_WORKER = (10 << 3) | VARINT;

const MAP_SHARD_COUNT = (1 << 3) | VARINT;
const MAP_WORKERS = (2 << 3) | BYTES;
const MAP_OWNERS_PACKED = (3 << 3) | BYTES;
const MAP_OWNERS_SINGLE = (3 << 3) | VARINT;
const MAP_TERMS_PACKED = (4 << 3) | BYTES;
const MAP_TERMS_SINGLE = (4 << 3) | VARINT;
const MAP_VERSION = (5 << 3) | VARINT;

const ENDPOINT_HOST = (1 << 3) | BYTES;
const ENDPOINT_WORKER = (2 << 3) | VARINT;
const ENDPOINT_ADDRESS = (3 << 3) | BYTES;

const TYPE_NAME = (1 << 3) | BYTES;
const TYPE_METHODS = (2 << 3) | BYTES;
const METHOD_NAME = (1 << 3) | BYTES;
const METHOD_READONLY = (2 << 3) | VARINT;

const LIMITS_MAX_IN_FLIGHT = (1 << 3) | VARINT;
const LIMITS_MAX_FRAME_BYTES = (2 << 3) | VARINT;
const LIMITS_SESSION_EXPIRY_MS = (3 << 3) | VARINT;

/** Workers, actor types, methods: far above what a cluster has, far below what would hurt. */
const ITEMS_MAX = 65_536;

const NO_LIMITS: LimitsMessage = Object.freeze({
  maxInFlight: 1024,
  maxFrameBytes: FRAME_BYTES_MAX_DEFAULT,
  sessionExpiryMs: 0,
});
const NO_MAP: ShardMapMessage = Object.freeze({
  shardCount: 1,
  workers: [],
  owners: [],
  terms: [],
  version: 0,
});

// ---------------------------------------------------------------- writing

/** Appends the fields of a `Welcome` message. */
export function writeWelcome(w: ByteWriter, welcome: Welcome): void {
  writeUint(w, WELCOME_VERSION, welcome.protocolVersion);
  writeText(w, WELCOME_CLUSTER_ID, welcome.clusterId);
  writeText(w, WELCOME_HOST, welcome.host);
  writeUint(w, WELCOME_INCARNATION, welcome.incarnation);
  writeShardMap(w, welcome.shardMap);
  for (const type of welcome.actorTypes) writeActorType(w, type);
  writeLimits(w, welcome.limits);
  for (const feature of welcome.features) writeTextItem(w, WELCOME_FEATURES, feature);
  writeText(w, WELCOME_HOST_VERSION, welcome.hostVersion);
  writeUint(w, WELCOME_WORKER, welcome.worker);
}

function writeShardMap(w: ByteWriter, map: ShardMapMessage): void {
  const at = openLength(w, WELCOME_SHARD_MAP);
  writeUint(w, MAP_SHARD_COUNT, map.shardCount);
  for (const worker of map.workers) {
    const item = openLength(w, MAP_WORKERS);
    writeEndpoint(w, worker);
    closeLength(w, item);
  }
  writePacked(w, MAP_OWNERS_PACKED, map.owners);
  writePacked(w, MAP_TERMS_PACKED, map.terms);
  writeUint(w, MAP_VERSION, map.version);
  closeLength(w, at);
}

function writePacked(w: ByteWriter, tag: number, numbers: readonly number[]): void {
  if (numbers.length === 0) return;
  const at = openLength(w, tag);
  for (const n of numbers) writeVarint(w, n);
  closeLength(w, at);
}

/** Appends the fields of a `WorkerEndpoint` message. */
export function writeEndpoint(w: ByteWriter, endpoint: WorkerEndpoint): void {
  writeText(w, ENDPOINT_HOST, endpoint.host);
  writeUint(w, ENDPOINT_WORKER, endpoint.worker);
  writeText(w, ENDPOINT_ADDRESS, endpoint.address);
}

function writeActorType(w: ByteWriter, type: ActorTypeMessage): void {
  const at = openLength(w, WELCOME_ACTOR_TYPES);
  writeText(w, TYPE_NAME, type.name);
  for (const method of type.methods) {
    const item = openLength(w, TYPE_METHODS);
    writeText(w, METHOD_NAME, method.name);
    writeBool(w, METHOD_READONLY, method.readonly);
    closeLength(w, item);
  }
  closeLength(w, at);
}

function writeLimits(w: ByteWriter, limits: LimitsMessage): void {
  const at = openLength(w, WELCOME_LIMITS);
  writeUint(w, LIMITS_MAX_IN_FLIGHT, limits.maxInFlight);
  writeUint(w, LIMITS_MAX_FRAME_BYTES, limits.maxFrameBytes);
  writeUint(w, LIMITS_SESSION_EXPIRY_MS, limits.sessionExpiryMs);
  closeLength(w, at);
}

// ---------------------------------------------------------------- reading

/** @throws `malformed-frame` */
export function decodeWelcome(bytes: Uint8Array): Welcome {
  return readWelcome(new ProtoReader(bytes));
}

/** Reads up to the reader's end. */
export function readWelcome(r: ProtoReader): Welcome {
  let protocolVersion = 0;
  let clusterId = "";
  let host = "";
  let incarnation = 0;
  let shardMap = NO_MAP;
  let limits = NO_LIMITS;
  let hostVersion = "";
  let worker = 0;
  const actorTypes: ActorTypeMessage[] = [];
  const features: string[] = [];
  while (r.at < r.end) {
    const tag = r.tag();
    if (tag === WELCOME_VERSION) protocolVersion = r.uint32();
    else if (tag === WELCOME_CLUSTER_ID) clusterId = r.text();
    else if (tag === WELCOME_HOST) host = r.text();
    else if (tag === WELCOME_INCARNATION) incarnation = r.uint();
    else if (tag === WELCOME_SHARD_MAP) shardMap = r.within(readShardMap);
    else if (tag === WELCOME_ACTOR_TYPES) push(r, actorTypes, r.within(readActorType));
    else if (tag === WELCOME_LIMITS) limits = r.within(readLimits);
    else if (tag === WELCOME_FEATURES) push(r, features, r.text());
    else if (tag === WELCOME_HOST_VERSION) hostVersion = r.text();
    else if (tag === WELCOME_WORKER) worker = r.uint32();
    else r.skip(tag);
  }
  return {
    protocolVersion,
    clusterId,
    host,
    incarnation,
    shardMap,
    actorTypes,
    limits,
    features,
    hostVersion,
    worker,
  };
}

function push<T>(r: ProtoReader, items: T[], item: T): void {
  if (items.length === ITEMS_MAX) throw r.malformed("a list that is too long");
  items.push(item);
}

function readShardMap(r: ProtoReader): ShardMapMessage {
  let shardCount = 0;
  let version = 0;
  const workers: WorkerEndpoint[] = [];
  const owners: number[] = [];
  const terms: number[] = [];
  while (r.at < r.end) {
    const tag = r.tag();
    if (tag === MAP_SHARD_COUNT) shardCount = r.uint32();
    else if (tag === MAP_WORKERS) push(r, workers, r.within(readEndpoint));
    else if (tag === MAP_OWNERS_PACKED) r.within((inner) => readPacked(inner, owners));
    else if (tag === MAP_OWNERS_SINGLE) push(r, owners, r.uint32());
    else if (tag === MAP_TERMS_PACKED) r.within((inner) => readPacked(inner, terms));
    else if (tag === MAP_TERMS_SINGLE) push(r, terms, r.uint());
    else if (tag === MAP_VERSION) version = r.uint();
    else r.skip(tag);
  }
  checkShardMap(r, shardCount, workers.length, owners, terms);
  return { shardCount, workers, owners, terms, version };
}

/** So that whoever routes by the map need not doubt it. */
function checkShardMap(
  r: ProtoReader,
  shardCount: number,
  workerCount: number,
  owners: readonly number[],
  terms: readonly number[],
): void {
  if (shardCount < 1 || shardCount > SHARD_COUNT_MAX)
    throw r.malformed(`a shard map of ${shardCount} shards`);
  if (owners.length !== 0 && owners.length !== shardCount)
    throw r.malformed("owners for some shards only");
  if (terms.length !== 0 && terms.length !== shardCount)
    throw r.malformed("terms for some shards only");
  if (owners.some((owner) => owner >= workerCount)) throw r.malformed("a shard owned by no worker");
}

function readPacked(r: ProtoReader, into: number[]): void {
  while (r.at < r.end) push(r, into, r.uint());
}

/** Reads up to the reader's end. */
export function readEndpoint(r: ProtoReader): WorkerEndpoint {
  let host = "";
  let worker = 0;
  let address = "";
  while (r.at < r.end) {
    const tag = r.tag();
    if (tag === ENDPOINT_HOST) host = r.text();
    else if (tag === ENDPOINT_WORKER) worker = r.uint32();
    else if (tag === ENDPOINT_ADDRESS) address = r.text();
    else r.skip(tag);
  }
  return { host, worker, address };
}

function readActorType(r: ProtoReader): ActorTypeMessage {
  let name = "";
  const methods: MethodMessage[] = [];
  while (r.at < r.end) {
    const tag = r.tag();
    if (tag === TYPE_NAME) name = r.text();
    else if (tag === TYPE_METHODS) push(r, methods, r.within(readMethod));
    else r.skip(tag);
  }
  return { name, methods };
}

function readMethod(r: ProtoReader): MethodMessage {
  let name = "";
  let readonly = false;
  while (r.at < r.end) {
    const tag = r.tag();
    if (tag === METHOD_NAME) name = r.text();
    else if (tag === METHOD_READONLY) readonly = r.bool();
    else r.skip(tag);
  }
  return { name, readonly };
}

function readLimits(r: ProtoReader): LimitsMessage {
  let { maxInFlight, maxFrameBytes, sessionExpiryMs } = NO_LIMITS;
  while (r.at < r.end) {
    const tag = r.tag();
    if (tag === LIMITS_MAX_IN_FLIGHT) maxInFlight = r.uint32();
    else if (tag === LIMITS_MAX_FRAME_BYTES) maxFrameBytes = r.uint32();
    else if (tag === LIMITS_SESSION_EXPIRY_MS) sessionExpiryMs = r.uint();
    else r.skip(tag);
  }
  return { maxInFlight, maxFrameBytes, sessionExpiryMs };
}
