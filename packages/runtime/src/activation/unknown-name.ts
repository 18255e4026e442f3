/** Errors for names that do not exist, naming the nearest that do. */
import { nearestNames, PinionError } from "@pinion/core";

function hint(name: string, known: readonly string[]): string {
  const nearest = nearestNames(name, known);
  if (nearest.length > 0) return `; did you mean ${nearest.join(" or ")}?`;
  return known.length === 0
    ? "; none are defined here"
    : `; known: ${known.slice(0, 8).join(", ")}`;
}

export function unknownType(type: string, known: readonly string[]): PinionError {
  return new PinionError(
    "unknown-actor-type",
    `no actor type "${type}" on this host${hint(type, known)}`,
    {
      details: { type, nearest: nearestNames(type, known) },
    },
  );
}

export function unknownMethod(type: string, method: string, known: readonly string[]): PinionError {
  return new PinionError(
    "unknown-method",
    `actor type "${type}" has no method "${method}"${hint(method, known)}`,
    {
      details: { type, method, nearest: nearestNames(method, known) },
    },
  );
}
