/** The bounds of a state value, and the words for breaking them. */
import { PinionError } from "@pinion/core";

/** Encoded bytes of one actor's state value. Larger data belongs into extents. */
export const STATE_BYTES_MAX = 1024 * 1024;
/** Up to here a change is sent as the whole value: one short encoding beats finding out what changed. */
export const WHOLE_BYTES_MAX = 4 * 1024;
/** Containers within containers. The codec takes 100; a patch wraps an inserted value in two more. */
export const STATE_DEPTH_MAX = 96;

export function notSerializable(path: string, what: string, hint = ""): PinionError {
  const message = `${path} is ${what}, which cannot be part of an actor's state`;
  return new PinionError("not-serializable", hint === "" ? message : `${message}: ${hint}`, {
    details: { path, what },
  });
}

/** @param bytes what the value takes, or at least takes. */
export function stateTooLarge(bytes: number, exact: boolean): PinionError {
  return new PinionError(
    "state-too-large",
    `the state would take ${exact ? "" : "at least "}${bytes} bytes encoded; at most ${STATE_BYTES_MAX} fit. The turn's changes were dropped`,
    { details: { bytes, limit: STATE_BYTES_MAX } },
  );
}
