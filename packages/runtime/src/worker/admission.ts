/**
 * Admission: what happens to a call before its turn. Everything refused here is answered at once, is not recorded, and says
 * what to do about it.
 */
import { actorId, assertKey, formatActorId, isPlainText, PinionError, shardOf } from "@pinion/core";
import { Activation } from "../activation/activation.ts";
import type { RegisteredType } from "../activation/registered-type.ts";
import type { TurnServices } from "../activation/services.ts";
import { SubCall } from "../activation/sub-call.ts";
import { unknownMethod, unknownType } from "../activation/unknown-name.ts";
import type { IncomingCall } from "../gateway/dispatcher.ts";
import { actorKeyOf } from "../records/actor-key.ts";
import { CallEntry, callKeyOf } from "../shard/call-entry.ts";
import { overloaded, refusedOutcome } from "../shard/outcome.ts";
import { requestDigest } from "./request-digest.ts";
import type { Sessions } from "./sessions.ts";
import type { WorkerCore } from "./worker-core.ts";

const IDEMPOTENCY_TTL_MS_DEFAULT = 24 * 60 * 60_000;
const IDEMPOTENCY_TTL_MS_MAX = 365 * IDEMPOTENCY_TTL_MS_DEFAULT;
const IDEMPOTENCY_KEY_LENGTH_MAX = 128;

export class Admission {
  readonly #core: WorkerCore;
  readonly #services: TurnServices;
  readonly #sessions: Pick<Sessions, "changing">;

  constructor(core: WorkerCore, services: TurnServices, sessions: Pick<Sessions, "changing">) {
    this.#core = core;
    this.#services = services;
    this.#sessions = sessions;
  }

  submit(call: IncomingCall): void {
    try {
      this.#admit(call);
    } catch (error) {
      call.sink.reply(call, refusedOutcome(error));
    }
  }

  #admit(call: IncomingCall): void {
    const core = this.#core;
    // While draining, what running turns have begun may still end: their calls to other actors go on.
    const inside = core.state === "draining" && !core.closing && call.path !== "";
    if (core.state !== "serving" && !inside) throw this.#notServing();
    const type = core.types.get(call.type);
    if (type === undefined) throw unknownType(call.type, [...core.types.keys()]);
    const method = type.methods.get(call.method);
    if (method === undefined) throw unknownMethod(call.type, call.method, [...type.methods.keys()]);
    const activation = this.activationOf(type, call.namespace, call.branch, call.key);
    if (call.sink instanceof SubCall) call.sink.target = activation;
    if (call.chain.length > 0) refuseCycle(call, activation, method.readonly);
    if (method.readonly) {
      activation.admitReadonly(call);
      return;
    }
    this.#admitMutating(call, activation);
  }

  #admitMutating(call: IncomingCall, activation: Activation): void {
    const core = this.#core;
    const { shard } = activation;
    const wallMs = core.ports.clock.wallMs();
    checkIdempotency(call);
    const digest = requestDigest(call);
    const known = shard.dedupe.lookup(call, activation.actor, wallMs);
    switch (known.found) {
      case "entry": {
        const { entry } = known;
        if (entry.digest !== digest) throw diverged(call, activation);
        entry.attach(call);
        if (entry.recorded) shard.gate.hold(entry.lsn, entry);
        return;
      }
      case "unknown":
        throw new PinionError(
          "outcome-unknown",
          "this call may have run: its answer is no longer kept, and it is not run again",
          {
            details: { seq: call.seq },
          },
        );
      case "full":
        throw overloaded("too many answers are waiting to be acknowledged", 50);
      case "nothing":
    }
    if (shard.pending >= core.options.pendingPerShardMax)
      throw overloaded("too many calls wait for their turn", 20);
    if (core.outboxFull(shard)) throw overloaded("too many sends wait for delivery", 50);
    this.#sessions.changing(call.session);
    const entry = new CallEntry(call, digest);
    if (call.idempotencyKey !== undefined)
      entry.expiresMs = Math.ceil(wallMs) + (call.idempotencyTtlMs || IDEMPOTENCY_TTL_MS_DEFAULT);
    // Nobody retries a timer's call, and nobody would ever acknowledge it.
    const isOwn = call.session.id.startsWith("@") && call.path === "";
    if (!isOwn)
      shard.dedupe.add(callKeyOf(call), call.idempotencyKey, activation.actor, entry, wallMs);
    shard.pending++;
    activation.admit(entry);
  }

  /** An entry that was admitted before: it keeps its place in the dedupe window and what was prepared for its turn. */
  readmit(entry: CallEntry): void {
    const { call } = entry;
    const { types, shards } = this.#core;
    try {
      const type = types.get(call.type);
      if (type === undefined) throw unknownType(call.type, [...types.keys()]);
      const activation = this.activationOf(type, call.namespace, call.branch, call.key);
      if (call.sink instanceof SubCall) call.sink.target = activation;
      activation.admit(entry);
    } catch (error) {
      const shard = shards.get(shardOf(call.type, call.key, this.#core.options.shardCount))?.shard;
      shard?.refuse(entry, refusedOutcome(error));
    }
  }

  /** The actor's activation, made and loading if there is none. @throws `invalid-actor-id`, `relocate`, `overloaded` */
  activationOf(type: RegisteredType, namespace: string, branch: string, key: string): Activation {
    const core = this.#core;
    const found = core.catalog.find(type.name, namespace, branch, key);
    if (found !== undefined) {
      core.catalog.touch(found);
      return found;
    }
    assertKey(type.name, key);
    const id = actorId(type.name, key, namespace, branch);
    const owned = core.owned(type.name, key);
    if (owned === undefined)
      throw new PinionError("relocate", `${formatActorId(id)} does not live on this worker`);
    const actor = actorKeyOf(namespace, branch, type.name, key);
    const activation = new Activation(type, id, actor, owned.shard, this.#services);
    core.catalog.add(activation);
    void activation.load();
    return activation;
  }

  #notServing(): PinionError {
    const core = this.#core;
    if (core.state === "draining") return new PinionError("draining", "this host is stopping");
    return new PinionError("unavailable", core.failure?.message ?? `this worker is ${core.state}`, {
      retryAfterMs: 50,
    });
  }
}

/** What names an answer in the store must be short and plain, and its lifetime finite. */
function checkIdempotency({ idempotencyKey: key, idempotencyTtlMs: ttlMs }: IncomingCall): void {
  if (key === undefined) return;
  if (key.length > IDEMPOTENCY_KEY_LENGTH_MAX || !isPlainText(key)) {
    throw new PinionError(
      "invalid-argument",
      `an idempotency key has 1 to ${IDEMPOTENCY_KEY_LENGTH_MAX} characters and no control characters`,
    );
  }
  if (!(Number.isInteger(ttlMs) && ttlMs >= 0 && ttlMs <= IDEMPOTENCY_TTL_MS_MAX)) {
    throw new PinionError(
      "invalid-argument",
      `idempotencyTtlMs must be a whole number from 0 to ${IDEMPOTENCY_TTL_MS_MAX} (a year), not ${ttlMs}`,
    );
  }
}

/** A call chain that comes back to an actor which cannot be entered would wait for itself: it fails at once (with the chain). */
function refuseCycle(call: IncomingCall, activation: Activation, isReadonly: boolean): void {
  if (isReadonly || activation.type.reentrancy !== "none") return;
  const self = formatActorId(activation.id);
  if (!call.chain.includes(self)) return;
  const chain = [...call.chain, self];
  throw new PinionError(
    "cycle",
    `call cycle: ${chain.join(" → ")}; allow it with reentrancy: "callChain"`,
    { details: { chain } },
  );
}

function diverged(call: IncomingCall, activation: Activation): PinionError {
  return new PinionError(
    "call-diverged",
    `another call of ${activation.actor} was made under this id with a different method or arguments`,
    { details: { actor: activation.actor, method: call.method } },
  );
}
