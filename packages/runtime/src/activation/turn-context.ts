/**
 * `ctx`: a turn as user code sees it. Every member checks that the turn still runs, so that a method which was abandoned, or
 * kept its context, cannot touch the actor any more (turn.ts, I1).
 */
import { PinionError, type ActorId, type ActorType, type RemoteMethods } from "@pinion/core";
import { encodeArgs } from "@pinion/core";
import type { ExtentsTurn } from "@pinion/storage";
import { actorKeyOf } from "../records/actor-key.ts";
import { OutboxKind } from "../records/runtime-records.ts";
import { TurnMemory } from "./turn-memory.ts";
import { TurnReminders } from "./turn-reminders.ts";
import type {
  ActorContext,
  NoExtents,
  ReminderFiring,
  Reminders,
  SendMethods,
} from "../definition/actor-context.ts";
import { plainOf } from "../state-value/index.ts";
import type { Turn } from "./turn.ts";

type MethodCaller = (method: string, args: unknown[]) => unknown;

/** An object whose every property is a method that calls `caller`. Awaiting it must not call `then`. */
function methodsProxy(caller: MethodCaller): object {
  return new Proxy(Object.create(null) as object, {
    get: (_target, method) =>
      typeof method === "symbol" || method === "then"
        ? undefined
        : (...args: unknown[]) => caller(method, args),
  });
}

/** Parts of the state may be passed along: as what they are now. */
const plainArgs = (args: unknown[]): unknown[] => args.map(plainOf);

const typeNameOf = (type: ActorType | string): string =>
  typeof type === "string" ? type : type.name;

const NO_EXTENTS = Object.freeze({});

export class TurnContext implements ActorContext<unknown, unknown, NoExtents> {
  readonly #turn: Turn;
  #reminders: TurnReminders | undefined;
  #memory: TurnMemory | undefined;
  #extents: object = NO_EXTENTS;
  /** Another one after a reentrant turn. */
  #extentsOf: ExtentsTurn | undefined;

  constructor(turn: Turn) {
    this.#turn = turn;
  }

  get id(): ActorId {
    return this.#turn.activation.id;
  }

  get state(): unknown {
    const turn = this.#turn;
    if (turn.ended) turn.assertRunning();
    if (turn.kind === "readonly") return turn.openView().root;
    return turn.openDraft().root;
  }

  set state(value: unknown) {
    this.#turn.assertMayChange("assign ctx.state");
    this.#turn.openDraft().replace(value);
  }

  get extents(): object {
    const turn = this.#turn;
    turn.assertRunning();
    const { extents } = turn.activation.type;
    if (extents === undefined) return NO_EXTENTS;
    const overlay = turn.openExtents();
    if (this.#extentsOf !== overlay) {
      this.#extentsOf = overlay;
      this.#extents = extents.handlesOf((name) => overlay.extent(name));
    }
    return this.#extents;
  }

  get memory(): TurnMemory {
    this.#turn.assertRunning();
    return (this.#memory ??= new TurnMemory(this.#turn));
  }

  get vars(): unknown {
    return this.#turn.activation.vars;
  }

  get signal(): AbortSignal {
    return this.#turn.signal;
  }

  get reminder(): ReminderFiring | undefined {
    return this.#turn.reminder;
  }

  remainingMs(): number {
    return Math.max(0, this.#turn.limitAtMs - this.#turn.activation.services.clock.nowMs());
  }

  now(): number {
    this.#turn.assertRunning();
    return this.#turn.nowMs;
  }

  random(): number {
    this.#turn.assertRunning();
    return this.#turn.random();
  }

  get<T extends ActorType>(type: T | T["name"], key: string): RemoteMethods<T> {
    const turn = this.#turn;
    turn.assertRunning();
    const { namespace, branch } = turn.activation.id;
    const target = { namespace, branch, type: typeNameOf(type), key };
    return methodsProxy((method, args) => {
      const answer = turn.activation.callActor(turn, target, method, encodeArgs(plainArgs(args)));
      // A method that forgets to await must not end the process; the turn warns of it (turn-runner.ts).
      answer.catch(() => {});
      return answer;
    }) as RemoteMethods<T>;
  }

  send<T extends ActorType>(type: T | T["name"], key: string): SendMethods<T> {
    const turn = this.#turn;
    turn.assertMayChange("send to another actor");
    const { namespace, branch } = turn.activation.id;
    const target = actorKeyOf(namespace, branch, typeNameOf(type), key);
    return methodsProxy((method, args) => {
      turn.assertMayChange("send to another actor");
      turn.activation.checkTarget(typeNameOf(type), key, method);
      const encoded = encodeArgs(plainArgs(args));
      (turn.outbox ??= []).push({
        ordinal: turn.ordinal++,
        kind: OutboxKind.send,
        target,
        method,
        args: encoded,
      });
    }) as SendMethods<T>;
  }

  afterCommit(effect: string, ...args: unknown[]): void {
    const turn = this.#turn;
    turn.assertMayChange("ask for an effect");
    if (!turn.activation.type.effects.has(effect)) {
      throw new PinionError(
        "invalid-argument",
        `actor type "${turn.activation.type.name}" defines no effect "${effect}"`,
        {
          details: { effect, known: [...turn.activation.type.effects.keys()] },
        },
      );
    }
    const encoded = encodeArgs(plainArgs(args));
    (turn.outbox ??= []).push({
      ordinal: turn.ordinal++,
      kind: OutboxKind.effect,
      target: "",
      method: effect,
      args: encoded,
    });
  }

  get reminders(): Reminders {
    return (this.#reminders ??= new TurnReminders(this.#turn));
  }

  setTimer(delayMs: number, method: string, ...args: unknown[]): () => void {
    this.#turn.assertMayChange("set a timer");
    return this.#turn.activation.setTimer(delayMs, method, encodeArgs(plainArgs(args)));
  }

  deactivate(): void {
    this.#turn.assertRunning();
    this.#turn.activation.requestDeactivation();
  }
}
