/** Operations of the simulated clients: what was asked, what became of it, what it is meant to leave behind. */
import { encodeArgs, type Rng } from "@pinion/core";

/** Accounts of each namespace. */
export const KEYS = ["a", "b", "c", "d", "e"] as const;
export const NAMESPACES = ["default", "eu"] as const;

export interface Place {
  readonly type: "bank" | "pal";
  readonly namespace: string;
  readonly key: string;
}

export const placeText = (p: Place): string => `${p.namespace}:${p.type}/${p.key}`;

export const ALL_PLACES: readonly Place[] = NAMESPACES.flatMap((namespace) =>
  (["bank", "pal"] as const).flatMap((type) =>
    [...KEYS, "nobody"].map((key) => ({ type, namespace, key })),
  ),
);

export interface Answer {
  readonly ok: boolean;
  readonly value: unknown;
  readonly atMs: number;
  readonly life: number;
  /** Order among all answers. */
  readonly index: number;
  /** Answered as soon as its record was appended: nothing of it came from the dedupe window or a rerun. */
  readonly direct: boolean;
}

export interface Op {
  readonly id: string;
  readonly place: Place;
  /** The other account. */
  readonly to: Place;
  readonly method: string;
  readonly args: Uint8Array;
  readonly idempotencyKey: string | undefined;
  /** HLC time. */
  readonly issuedAt: number;
  session: string;
  seq: number;
  attempt: number;
  /** Messages sent in the life it was answered in: more than one may have been answered by another's record. */
  messages: number;
  /** The life in which it waits to be sent again. */
  dueAgainIn: number | undefined;
  answer: Answer | undefined;
  /** Nobody waits for it any more: its client died, or was told that it cannot run now. It may have run. */
  abandoned: boolean;
  /** The power took it, as its policy allows. */
  lost: boolean;
}

/** What a method leaves behind when it ends well: [suffix of the id, whether there or here, amount]. */
const LEAVES: Readonly<Record<string, readonly [string, "here" | "there", number][]>> = {
  add: [["", "here", 1]],
  transfer: [
    ["", "here", -1],
    [">", "there", 1],
  ],
  gamble: [
    ["", "here", -1],
    [">", "there", 1],
  ],
  post: [
    ["", "here", -1],
    [">", "there", 1],
  ],
  relay: [
    ["", "here", -1],
    [">", "there", 1],
    ["<", "here", 0],
  ],
  fail: [],
  failLate: [[">", "there", 1]],
  notify: [["", "here", 0]],
  moody: [["", "here", 0]],
  remind: [["", "here", 0]],
  stopReminding: [["", "here", 0]],
  read: [],
};

export interface Trace {
  readonly mark: string;
  readonly at: Place;
  readonly amount: number;
}

/** Every trace the operation may leave. */
export function tracesOf(op: Op): Trace[] {
  return (LEAVES[op.method] ?? []).map(([suffix, where, amount]) => ({
    mark: op.id + suffix,
    at: where === "here" ? op.place : op.to,
    amount,
  }));
}

const METHODS = [
  ...["add", "add", "keyed", "transfer", "transfer", "gamble", "post", "post"],
  ...[
    "fail",
    "failLate",
    "moody",
    "moody",
    "notify",
    "relay",
    "read",
    "read",
    "stopReminding",
    "remind",
  ],
];

/** One operation by chance. @param reminded actors that were told to remind themselves */
export function makeOp(
  rng: Rng,
  id: string,
  issuedAt: number,
  reminded: Set<string>,
  everyMs: number = 5 + rng.below(20),
): Op {
  const namespace = rng.chance(0.7) ? "default" : "eu";
  const key = rng.pick(KEYS);
  const other = rng.pick(KEYS.filter((k) => k !== key));
  let method = rng.pick(METHODS);
  const bank: Place = { type: "bank", namespace, key };
  const first = !reminded.has(placeText(bank)) && rng.chance(0.5);
  if (first) method = "remind";
  if (method === "remind") reminded.add(placeText(bank));
  const keyed = method === "keyed";
  if (keyed) method = "add";
  const type = method === "relay" ? "pal" : "bank";
  const args: Record<string, unknown[]> = {
    add: [id, 1],
    transfer: [id, other, 1],
    gamble: [id, other],
    post: [id, other, 1],
    fail: [id],
    failLate: [id, other],
    notify: [id],
    moody: [id],
    relay: [id, other],
    remind: [id, everyMs],
    stopReminding: [id],
    read: [],
  };
  return {
    id,
    place: { ...bank, type },
    to: { type, namespace, key: other },
    method,
    args: encodeArgs(args[method] as unknown[]),
    idempotencyKey: keyed ? `key of ${id}` : undefined,
    issuedAt,
    session: "",
    seq: 0,
    attempt: 0,
    messages: 0,
    dueAgainIn: undefined,
    answer: undefined,
    abandoned: false,
    lost: false,
  };
}
