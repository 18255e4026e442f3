/**
 * A durable reminder, and its body as log records and the store keep it (a MessagePack array, format version first).
 */
import { decodeValue, encodeValue, PinionError } from "@pinion/core";
import type { ReminderSchedule } from "../definition/actor-context.ts";

export interface ReminderState {
  readonly name: string;
  readonly dueMs: number;
  /** Grows each time the reminder is set, so that a due time of an older setting is never taken for one of this. */
  readonly generation: number;
  readonly schedule: ReminderSchedule;
  readonly method: string;
  /** Encoded arguments. */
  readonly args: Uint8Array;
}

const VERSION = 1;

export function encodeReminderBody(r: ReminderState): Uint8Array {
  return encodeValue([VERSION, r.generation, r.schedule, r.method, r.args]);
}

/** @throws `corruption` */
export function decodeReminder(name: string, dueMs: number, body: Uint8Array): ReminderState {
  const value = decodeValue(body);
  if (Array.isArray(value)) {
    const [version, generation, schedule, method, args] = value as unknown[];
    if (
      version === VERSION &&
      typeof generation === "number" &&
      typeof schedule === "object" &&
      schedule !== null &&
      typeof method === "string" &&
      args instanceof Uint8Array
    ) {
      return { name, dueMs, generation, schedule: schedule as ReminderSchedule, method, args };
    }
  }
  throw new PinionError("corruption", `the stored reminder "${name}" is not in a form known here`, {
    details: { name },
  });
}
