/**
 * Values as JSON text, for unary calls and the command line. Follows the JSON mapping of Protocol Buffers where that says
 * something: bytes are base64, large integers decimal text, times RFC 3339, NaN and the infinities text.
 *
 * It is lossy in one direction: what is not JSON arrives as its JSON likeness. Arguments can therefore only be what JSON
 * can say; a method that needs a Date or a Map is called with MessagePack.
 *
 * | value                         | JSON                                                             |
 * |-------------------------------|------------------------------------------------------------------|
 * | undefined                     | null; left out as a property                                     |
 * | bigint                        | decimal text                                                     |
 * | NaN, ±Infinity                | "NaN", "Infinity", "-Infinity"                                   |
 * | Date                          | "2001-01-01T00:00:00.000Z"                                       |
 * | Uint8Array, ArrayBuffer…      | base64 text                                                      |
 * | other typed array             | array of its numbers                                             |
 * | Map with only string keys     | object; else array of [key, value] pairs                         |
 * | Set                           | array                                                            |
 */
import { messageOf, PinionError } from "../errors.ts";

/** @param value anything `decodeValue` gives. */
export function valueToJson(value: unknown, indent = 0): string {
  return JSON.stringify(jsonLike(value), undefined, indent) ?? "null";
}

function jsonLike(value: unknown): unknown {
  switch (typeof value) {
    case "undefined":
      return undefined;
    case "bigint":
      return String(value);
    case "number":
      return Number.isFinite(value) ? value : String(value);
    case "object":
      return value === null ? null : objectLike(value);
    default:
      return value;
  }
}

function objectLike(value: object): unknown {
  if (Array.isArray(value)) return value.map((item: unknown) => jsonLike(item) ?? null);
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Map) return mapLike(value);
  if (value instanceof Set) return [...value].map((item: unknown) => jsonLike(item) ?? null);
  if (value instanceof Uint8Array) return base64(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof ArrayBuffer) return base64(value, 0, value.byteLength);
  if (value instanceof DataView) return base64(value.buffer, value.byteOffset, value.byteLength);
  if (ArrayBuffer.isView(value))
    return Array.from(value as unknown as ArrayLike<unknown>, jsonLike);
  return record(Object.entries(value));
}

function base64(buffer: ArrayBufferLike, offset: number, count: number): string {
  return Buffer.from(buffer, offset, count).toString("base64");
}

function mapLike(map: ReadonlyMap<unknown, unknown>): unknown {
  const entries = [...map];
  if (entries.every((entry): entry is [string, unknown] => typeof entry[0] === "string"))
    return record(entries);
  return entries.map(([key, item]) => [jsonLike(key) ?? null, jsonLike(item) ?? null]);
}

/** Without a prototype: a key named __proto__ stays a key. */
function record(entries: readonly (readonly [string, unknown])[]): object {
  const object = Object.create(null) as Record<string, unknown>;
  for (const [key, item] of entries) object[key] = jsonLike(item);
  return object;
}

/** @param name what to call the text in an error. @throws `invalid-argument` */
export function valueFromJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (e) {
    throw new PinionError("invalid-argument", `${name} is not JSON: ${messageOf(e)}`, {
      details: { name },
    });
  }
}
