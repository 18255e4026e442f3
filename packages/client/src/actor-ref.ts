/**
 * Typed references: `client.get(Counter, "visits").increment(3)`.
 *
 * A reference knows no method names; any name is a remote method. The first use of a name, by any reference, puts an
 * accessor for it on a shared prototype, so that later uses are ordinary property reads (a Proxy trap per call would cost
 * as much as encoding the call). Only names never seen reach the Proxy at the end of the prototype chain:
 *
 *     reference → ActorHandle.prototype (with, toString…) → methodNames (one accessor a name) → Proxy
 *
 * I1 a reference is no promise and no iterable: `then`, symbols and what test tools and loggers probe for are undefined.
 * I2 a method taken from its reference stays bound: `const { increment } = ref` works.
 * I3 the prototype keeps at most `METHOD_NAMES_MAX` names, however many are tried.
 */
import { inspect } from "node:util";
import { PinionError, type ActorId, type ActorType, type RemoteMethods } from "@pinion/core";
import type { ActorCallOptions, CallDesk, PreparedOptions } from "./call-desk.ts";
import { prepareOptions } from "./call-options.ts";
import type { CallTarget } from "./call-target.ts";

/** What a reference has besides its actor's methods. An actor's method of such a name is reached with `client.call`. */
export interface ActorRefMembers<T extends ActorType> {
  /** The same actor with options for its calls; options given earlier stay unless named again. */
  with(options: ActorCallOptions): ActorRef<T>;
  /** The actor id as text. */
  toString(): string;
}

export type ActorRef<T extends ActorType> = RemoteMethods<T> & ActorRefMembers<T>;

const METHOD_NAMES_MAX = 4096;
/** Names that something other than a caller asks an object for. */
const NO_METHODS: ReadonlySet<string> = new Set([
  "then",
  "catch",
  "finally",
  "constructor",
  "valueOf",
  "hasOwnProperty",
  "asymmetricMatch",
  "nodeType",
  "tagName",
  "$$typeof",
  "inspect",
  "toJSON",
]);

type Method = (...args: unknown[]) => Promise<unknown>;

class ActorHandle {
  readonly #desk: CallDesk;
  readonly #target: CallTarget;
  readonly #given: ActorCallOptions;
  readonly #prepared: PreparedOptions;

  constructor(
    desk: CallDesk,
    target: CallTarget,
    given: ActorCallOptions,
    prepared: PreparedOptions,
  ) {
    this.#desk = desk;
    this.#target = target;
    this.#given = given;
    this.#prepared = prepared;
  }

  static method(handle: ActorHandle, name: string): Method {
    return (...args) => handle.#desk.call(handle.#target, name, args, handle.#prepared);
  }

  static is(value: unknown): value is ActorHandle {
    return typeof value === "object" && value !== null && #desk in value;
  }

  static targetOf(handle: ActorHandle): CallTarget {
    return handle.#target;
  }

  /** @throws `invalid-argument` */
  with(options: ActorCallOptions): ActorHandle {
    const given = { ...this.#given, ...options };
    return new ActorHandle(
      this.#desk,
      this.#target,
      given,
      prepareOptions(given, this.#desk.defaultTimeoutMs),
    );
  }

  toString(): string {
    return this.#target.toString();
  }

  [inspect.custom](): string {
    return `ActorRef(${this.#target.toString()})`;
  }

  get [Symbol.toStringTag](): string {
    return "ActorRef";
  }
}

let nameCount = 0;

const unknownNames: object = new Proxy(Object.create(null) as object, {
  get(_target, name, receiver: unknown): unknown {
    if (typeof name === "symbol" || NO_METHODS.has(name) || !ActorHandle.is(receiver))
      return undefined; // I1
    if (nameCount < METHOD_NAMES_MAX) {
      nameCount++; // I3
      defineMethod(name);
    }
    return ActorHandle.method(receiver, name);
  },
  has: () => false,
});

const methodNames: object = Object.create(unknownNames) as object;
for (const name of NO_METHODS) Object.defineProperty(methodNames, name, { value: undefined });
Object.setPrototypeOf(ActorHandle.prototype, methodNames);

function defineMethod(name: string): void {
  Object.defineProperty(methodNames, name, {
    get(this: unknown): Method | undefined {
      return ActorHandle.is(this) ? ActorHandle.method(this, name) : undefined; // I2
    },
  });
}

/** The methods are not there until they are asked for, so the type is a promise that the Proxy keeps. */
export function makeActorRef<T extends ActorType>(
  desk: CallDesk,
  target: CallTarget,
  prepared: PreparedOptions,
): ActorRef<T> {
  return new ActorHandle(desk, target, {}, prepared) as unknown as ActorRef<T>;
}

/** The actor a reference stands for. @throws `invalid-argument` for anything else. */
export function actorIdOf(ref: object): ActorId {
  if (!ActorHandle.is(ref)) throw new PinionError("invalid-argument", "not an actor reference");
  const { namespace, branch, type, key } = ActorHandle.targetOf(ref);
  return { namespace, branch, type, key };
}
