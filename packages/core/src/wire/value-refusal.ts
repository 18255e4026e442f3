/**
 * Says where in a value the thing sits that cannot be sent: `args[0].onDone is a function`. Runs only after the encoder
 * has refused, so it may be slow; it walks in the encoder's order and so finds the same place.
 */
import { messageOf, PinionError } from "../errors.ts";
import { DEPTH_MAX } from "./value-format.ts";

/** The encoder's short "no"; never leaves this folder. */
export class Refusal extends Error {
  constructor(what: string) {
    super(what);
    this.name = "Refusal";
  }
}

/** An object literal's prototype, also of another realm (a vm context). */
export function isPlainObject(value: object): boolean {
  const proto: unknown = Object.getPrototypeOf(value);
  if (proto === null || proto === Object.prototype) return true;
  return (
    typeof proto === "object" &&
    Object.getPrototypeOf(proto) === null &&
    Object.hasOwn(proto as object, "isPrototypeOf") &&
    Object.hasOwn(proto as object, "hasOwnProperty")
  );
}

interface Finding {
  readonly path: string;
  readonly what: string;
  readonly hint: string;
}

/**
 * @param levelsAbove containers around the value that are no level of its nesting: the list of arguments.
 * @param refused what the encoder threw: a `Refusal`, or an error of a getter of the value.
 */
export function explainRefusal(
  root: unknown,
  name: string,
  refused: unknown,
  levelsAbove = 0,
): PinionError {
  let found: Finding | undefined;
  try {
    found = find(root, name, [], { left: 1_000_000, depth: DEPTH_MAX + levelsAbove });
  } catch (e) {
    found = {
      path: name,
      what: `an object that throws when it is read (${messageOf(e)})`,
      hint: "",
    };
  }
  const { path, what, hint } = found ?? { path: name, what: messageOf(refused), hint: "" };
  return new PinionError(
    "not-serializable",
    `${path} is ${what}, which cannot be sent${hint === "" ? "" : `: ${hint}`}`,
    {
      details: { path, what },
    },
  );
}

/** What a search may still do. */
interface Budget {
  left: number;
  readonly depth: number;
}

interface Ancestor {
  readonly value: object;
  readonly path: string;
}

function find(
  value: unknown,
  path: string,
  above: readonly Ancestor[],
  budget: Budget,
): Finding | undefined {
  if (budget.left-- <= 0) return undefined;
  switch (typeof value) {
    case "function":
      return { path, what: "a function", hint: "" };
    case "symbol":
      return { path, what: "a symbol", hint: "" };
    case "string":
      return value.isWellFormed()
        ? undefined
        : {
            path,
            what: "a string with half of a surrogate pair",
            hint: "cut text between characters, or use toWellFormed()",
          };
    case "object":
      return value === null ? undefined : findInObject(value, path, above, budget);
    default:
      return undefined;
  }
}

function findInObject(
  value: object,
  path: string,
  above: readonly Ancestor[],
  budget: Budget,
): Finding | undefined {
  const seen = above.find((a) => a.value === value);
  if (seen !== undefined) return { path, what: `a cycle back to ${seen.path}`, hint: "" };
  if (above.length >= budget.depth)
    return { path, what: `more than ${DEPTH_MAX} levels deep`, hint: "" };
  const within = [...above, { value, path }];
  const children = childrenOf(value, path);
  if (children === undefined) return describeInstance(value, path);
  for (const [childPath, child] of children) {
    const found = childPath.endsWith(".__proto__")
      ? { path: childPath, what: "a property named __proto__", hint: "" }
      : find(child, childPath, within, budget);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Undefined for what is not a container we can send. Leaves have no children. */
function childrenOf(value: object, path: string): Iterable<readonly [string, unknown]> | undefined {
  if (Array.isArray(value))
    return value.map((item: unknown, i) => [`${path}[${i}]`, item] as const);
  if (value instanceof Map) {
    return [...value].flatMap(([key, item]: [unknown, unknown], i) => [
      [`${path}.keys()[${i}]`, key] as const,
      [
        typeof key === "string" ? `${path}.get(${JSON.stringify(key)})` : `${path}.values()[${i}]`,
        item,
      ] as const,
    ]);
  }
  if (value instanceof Set)
    return [...value].map((item: unknown, i) => [`${path}.values()[${i}]`, item] as const);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? undefined : [];
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return [];
  if (!isPlainObject(value)) return undefined;
  return Object.keys(value).map((key) => [
    /^[A-Za-z_$][\w$]*$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`,
    (value as Readonly<Record<string, unknown>>)[key],
  ]);
}

function describeInstance(value: object, path: string): Finding {
  if (value instanceof Date) return { path, what: "an invalid Date", hint: "" };
  if (value instanceof Promise) return { path, what: "a promise", hint: "await it first" };
  if (value instanceof WeakMap || value instanceof WeakSet)
    return { path, what: `a ${value.constructor.name}`, hint: "" };
  if (value instanceof Error) {
    return { path, what: "an error object", hint: "throw it, or send its message" };
  }
  const { constructor } = value;
  const name =
    typeof constructor === "function" && constructor.name !== ""
      ? constructor.name
      : "an unnamed class";
  return { path, what: `an instance of ${name}`, hint: "send a plain object instead" };
}
