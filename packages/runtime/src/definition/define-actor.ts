/**
 * Actor definitions: plain values with inferred types. No code generation, no decorators.
 *
 *     export const Counter = defineActor("counter", {
 *       state: () => ({ n: 0 }),
 *       methods: {
 *         increment(ctx, by: number) { return (ctx.state.n += by); },
 *         value: readonly((ctx) => ctx.state.n),
 *       },
 *     });
 */
import { assertName, PinionError, type ActorMethod, type ActorType } from "@pinion/core";
import type { StructureDeclarations } from "@pinion/storage";
import type { ActivationContext, ActorContext, EffectContext, NoExtents } from "./actor-context.ts";

/** Which calls may enter an actor while one of its turns waits at an `await`. `readonly` methods always may. */
export type Reentrancy = "none" | "callChain" | "full";

/** Why an activation ends. */
export type DeactivationReason = "idle" | "memory" | "stopping" | "moved" | "requested";

type Methods<State, Vars, Extents> = Readonly<
  Record<string, (ctx: ActorContext<State, Vars, Extents>, ...args: never[]) => unknown>
>;

/** Extents by name: structures such as `column("f64")`. */
export type ExtentOptions = StructureDeclarations;

/** What an actor keeps outside its state value, and how it is kept while the actor is active. */
export interface MemoryOptions<Extents = ExtentOptions> {
  /**
   * "hot" and "warm" (default): extents are in memory before the first turn, and hot ones go last when memory is short. "cold": they stay on
   * disk and are read page by page.
   */
  readonly profile?: "hot" | "warm" | "cold";
  /**
   * Bytes, from 64 KiB, or text such as "512MiB": what extents of all actors of the type together may have pinned on a host. What is beyond it is
   * degraded, or makes colder extents of the same type go; other types do not notice. Default: only the host's own budget.
   */
  readonly pinBytesMax?: number | string;
  /** The same as a share of the host's pin budget, above 0, up to 1; where both are given the smaller counts. */
  readonly pinShareMax?: number;
  /**
   * Data that may be far larger than the JavaScript heap: names of A-Z a-z 0-9 _ - that begin with a letter, at most 256. What an extent holds
   * under its name stays when the definition no longer names it.
   */
  readonly extents?: Extents;
}

/** Turns the state of version `n − 1` into that of version `n`. Gets and returns plain values. */
export type MigrateStep = (state: unknown) => unknown;

/** A side effect outside the store, run at least once after its turn's commit. */
export type Effect = (ctx: EffectContext, ...args: never[]) => unknown;

export interface ActorOptions<
  State,
  Vars,
  M extends Methods<State, Vars, Extents>,
  Extents extends ExtentOptions = NoExtents,
> {
  /** Initial state of an actor that was never written: plain objects, arrays, Map, Set, Date, bytes and primitives. At most 1 MiB encoded. */
  readonly state: () => State;
  /**
   * Steps from older versions of the state, in order: `migrate[0]` turns version 1 into version 2. The state's
   * version is `migrate.length + 1`. An actor migrates when it is next activated.
   */
  readonly migrate?: readonly MigrateStep[];
  /** Values that live with the activation only and are never stored. */
  readonly vars?: () => Vars;
  readonly methods: M;
  /** Handlers of `ctx.afterCommit`, by name. */
  readonly effects?: Readonly<Record<string, Effect>>;
  /** Default: "none". */
  readonly reentrancy?: Reentrancy;
  /** Longest time a turn may take while it yields, ms; default 30,000. */
  readonly maxTurnMs?: number;
  /** Calls that may wait in an actor's mailbox; beyond it callers get `overloaded`. Default 1,024. */
  readonly mailboxLength?: number;
  /** Idle time after which an activation ends, ms. Default: the host's `idleDeactivationMs`. */
  readonly idleDeactivationMs?: number;
  readonly memory?: MemoryOptions<Extents>;
  /** Runs before the first turn of an activation. If it throws, the call that caused the activation fails. */
  onActivate?(ctx: ActivationContext<State, Vars, Extents>): void | Promise<void>;
  /** Runs after the last turn. Bounded by `maxTurnMs`; errors are logged. */
  onDeactivate?(
    ctx: ActivationContext<State, Vars, Extents>,
    reason: DeactivationReason,
  ): void | Promise<void>;
}

export interface ActorDefinition<
  Name extends string = string,
  State = unknown,
  Vars = unknown,
  M extends Readonly<Record<string, ActorMethod>> = Readonly<Record<string, ActorMethod>>,
> extends ActorType<Name, M> {
  readonly name: Name;
  readonly methods: M;
  readonly stateVersion: number;
  /** The options as given; read by the runtime. */
  readonly options: ErasedOptions<State, Vars>;
}

/** Options as the runtime sees them: method types are the caller's business. */
export interface ErasedOptions<State = unknown, Vars = unknown> {
  readonly state: () => State;
  readonly migrate?: readonly MigrateStep[];
  readonly vars?: () => Vars;
  readonly effects?: Readonly<Record<string, Effect>>;
  readonly reentrancy?: Reentrancy;
  readonly maxTurnMs?: number;
  readonly mailboxLength?: number;
  readonly idleDeactivationMs?: number;
  readonly memory?: MemoryOptions;
  onActivate?(ctx: never): void | Promise<void>;
  onDeactivate?(ctx: never, reason: DeactivationReason): void | Promise<void>;
}

const readonlyMethods = new WeakSet<object>();

/**
 * Marks a method that changes nothing. It may run while a turn of the actor waits and then sees the committed state before
 * that turn. Enforced: writing `ctx.state`, sending, or calling a method that is not readonly throws `readonly-violation`.
 */
export function readonly<Ctx, Args extends unknown[], Result>(
  method: (ctx: Ctx, ...args: Args) => Result,
): (ctx: Ctx, ...args: Args) => Result {
  // A wrapper, not the function itself: the same function may also serve as an ordinary method elsewhere.
  const marked = (ctx: Ctx, ...args: Args): Result => method(ctx, ...args);
  readonlyMethods.add(marked);
  return marked;
}

export function isReadonlyMethod(method: ActorMethod): boolean {
  return readonlyMethods.has(method);
}

/** Names a client's ref needs for itself. */
const RESERVED = new Set(["then", "with", "constructor", "toJSON", "fork"]);

/**
 * Defines an actor type.
 * @param name 1 to 64 of A-Z a-z 0-9 _ . -, starting with a letter; it is part of every id, so renaming it orphans state.
 * @throws `invalid-actor-id` for a bad name, `invalid-argument` for bad options.
 */
export function defineActor<
  const Name extends string,
  State,
  M extends Methods<State, undefined, NoExtents>,
>(
  name: Name,
  options: ActorOptions<State, undefined, M> & {
    readonly vars?: undefined;
    readonly memory?: { readonly extents?: undefined };
  },
): ActorDefinition<Name, State, undefined, M>;
export function defineActor<
  const Name extends string,
  State,
  Vars,
  M extends Methods<State, Vars, NoExtents>,
>(
  name: Name,
  options: ActorOptions<State, Vars, M> & {
    readonly vars: () => Vars;
    readonly memory?: { readonly extents?: undefined };
  },
): ActorDefinition<Name, State, Vars, M>;
export function defineActor<
  const Name extends string,
  State,
  Extents extends ExtentOptions,
  M extends Methods<State, undefined, Extents>,
>(
  name: Name,
  options: ActorOptions<State, undefined, M, Extents> & {
    readonly vars?: undefined;
    readonly memory: { readonly extents: Extents };
  },
): ActorDefinition<Name, State, undefined, M>;
export function defineActor<
  const Name extends string,
  State,
  Vars,
  Extents extends ExtentOptions,
  M extends Methods<State, Vars, Extents>,
>(
  name: Name,
  options: ActorOptions<State, Vars, M, Extents> & {
    readonly vars: () => Vars;
    readonly memory: { readonly extents: Extents };
  },
): ActorDefinition<Name, State, Vars, M>;
// Four signatures, because an inferred `Vars` or `Extents` without a candidate leaves `ctx` of a readonly method untyped.
export function defineActor<
  Name extends string,
  State,
  Vars,
  Extents extends ExtentOptions,
  M extends Methods<State, Vars, Extents>,
>(
  name: Name,
  options: ActorOptions<State, Vars, M, Extents>,
): ActorDefinition<Name, State, Vars, M> {
  assertName("actor type", name);
  for (const [method, fn] of Object.entries(options.methods)) {
    if (typeof fn !== "function") {
      throw new PinionError(
        "invalid-argument",
        `method "${method}" of actor "${name}" is not a function`,
      );
    }
    if (RESERVED.has(method)) {
      throw new PinionError(
        "invalid-argument",
        `an actor method cannot be named "${method}" (actor "${name}")`,
      );
    }
  }
  return Object.freeze({
    name,
    methods: options.methods,
    stateVersion: (options.migrate?.length ?? 0) + 1,
    options: options as unknown as ErasedOptions<State, Vars>,
  });
}

/** True for what `defineActor` returns: how a module's exports are told apart. */
export function isActorDefinition(value: unknown): value is ActorDefinition {
  return (
    typeof value === "object" &&
    value !== null &&
    "stateVersion" in value &&
    "methods" in value &&
    "options" in value &&
    "name" in value &&
    typeof value.name === "string"
  );
}
