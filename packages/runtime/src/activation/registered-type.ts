/**
 * An actor definition as a worker runs it: options resolved, methods looked up once.
 */
import { PinionError } from "@pinion/core";
import {
  isReadonlyMethod,
  type ActorDefinition,
  type Effect,
  type ErasedOptions,
  type Reentrancy,
} from "../definition/define-actor.ts";
import type { ActorTypeDescription } from "../gateway/dispatcher.ts";
import { declareExtents, type DeclaredExtents } from "./declared-extents.ts";

export type MethodFn = (ctx: unknown, ...args: unknown[]) => unknown;

export interface RegisteredMethod {
  readonly name: string;
  readonly fn: MethodFn;
  readonly readonly: boolean;
}

export interface TypeDefaults {
  readonly maxTurnMs: number;
  readonly mailboxLength: number;
  readonly idleDeactivationMs: number;
}

export interface RegisteredType {
  readonly name: string;
  readonly options: ErasedOptions;
  readonly methods: ReadonlyMap<string, RegisteredMethod>;
  readonly effects: ReadonlyMap<string, Effect>;
  /** `this` of the methods: the object they were written in. */
  readonly receiver: unknown;
  readonly stateVersion: number;
  readonly reentrancy: Reentrancy;
  readonly maxTurnMs: number;
  readonly mailboxLength: number;
  readonly idleDeactivationMs: number;
  readonly description: ActorTypeDescription;
  /** Undefined for a type without. */
  readonly extents: DeclaredExtents | undefined;
}

function positive(value: number, what: string, type: string): number {
  if (Number.isFinite(value) && value > 0) return value;
  throw new PinionError(
    "invalid-argument",
    `${what} of actor "${type}" must be a positive number, not ${value}`,
  );
}

/** @throws `invalid-argument` */
export function registerType(definition: ActorDefinition, defaults: TypeDefaults): RegisteredType {
  const { name, options } = definition;
  const methods = new Map<string, RegisteredMethod>();
  for (const [method, fn] of Object.entries(definition.methods)) {
    methods.set(method, { name: method, fn: fn as MethodFn, readonly: isReadonlyMethod(fn) });
  }
  return {
    name,
    options,
    methods,
    effects: new Map(Object.entries(options.effects ?? {})),
    receiver: definition.methods,
    stateVersion: definition.stateVersion,
    reentrancy: options.reentrancy ?? "none",
    extents: declareExtents(name, options.memory),
    maxTurnMs: positive(options.maxTurnMs ?? defaults.maxTurnMs, "maxTurnMs", name),
    mailboxLength: positive(options.mailboxLength ?? defaults.mailboxLength, "mailboxLength", name),
    idleDeactivationMs: positive(
      options.idleDeactivationMs ?? defaults.idleDeactivationMs,
      "idleDeactivationMs",
      name,
    ),
    description: {
      name,
      methods: [...methods.values()].map((m) => ({ name: m.name, readonly: m.readonly })),
    },
  };
}
