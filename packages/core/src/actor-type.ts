/**
 * What a client needs to know of an actor definition: its name and the types of its methods. The runtime's
 * `defineActor` returns a value of this shape; a client may import only its type.
 */

/** A method as its author writes it: the context first, then the arguments callers give. */
export type ActorMethod = (ctx: never, ...args: never[]) => unknown;

export interface ActorType<
  Name extends string = string,
  Methods extends Readonly<Record<string, ActorMethod>> = Readonly<Record<string, ActorMethod>>,
> {
  readonly name: Name;
  readonly methods: Methods;
}

/** A method as its caller sees it: without the context, and always a promise. */
export type RemoteMethod<F> = F extends (ctx: never, ...args: infer Args) => infer Result
  ? (...args: Args) => Promise<Awaited<Result>>
  : never;

/** All methods of a definition as its caller sees them. One flat mapped type: editors stay fast. */
export type RemoteMethods<T extends ActorType> = {
  readonly [M in keyof T["methods"]]: RemoteMethod<T["methods"][M]>;
};

/** How current a readonly answer must be. `quorum` and `eventual` differ from `linearizable` only with replicas. */
export type Consistency = "linearizable" | "quorum" | "eventual";

export interface CallOptions {
  /** Cancels the call: it rejects with `cancelled`; the turn's `ctx.signal` aborts. */
  readonly signal?: AbortSignal;
  /** Deadline, ms from the call; > 0. */
  readonly timeoutMs?: number;
  /** Makes the call exactly-once across processes of the caller, for `idempotencyTtlMs`. At most 128 characters. */
  readonly idempotencyKey?: string;
  readonly idempotencyTtlMs?: number;
  readonly consistency?: Consistency;
}
