/**
 * `ctx.reminders`: the reminders of an actor as one turn sees and changes them. Changes join the turn's commit record.
 */
import { encodeArgs, isPlainText, PinionError } from "@pinion/core";
import type { ReminderInfo, Reminders, ReminderSchedule } from "../definition/actor-context.ts";
import { unknownMethod } from "./unknown-name.ts";
import { plainOf } from "../state-value/index.ts";
import type { Turn } from "./turn.ts";
import {
  decodeReminder,
  encodeReminderBody,
  type ReminderState,
} from "../reminders/reminder-state.ts";
import { checkSchedule, firstDueMs } from "../reminders/schedule.ts";

/** Reminders one actor can have. */
export const REMINDERS_MAX = 1_000;
const NAME_LENGTH_MAX = 128;

export class TurnReminders implements Reminders {
  readonly #turn: Turn;

  constructor(turn: Turn) {
    this.#turn = turn;
  }

  #current(): Map<string, ReminderState> {
    const current = new Map(this.#turn.activation.reminders);
    for (const op of this.#turn.reminderOps ?? []) {
      if (op.op === "cancel") current.delete(op.name);
      else current.set(op.name, decodeReminder(op.name, op.dueMs, op.body));
    }
    return current;
  }

  set(name: string, schedule: ReminderSchedule, method: string, ...args: unknown[]): void {
    const turn = this.#turn;
    turn.assertMayChange("set a reminder");
    if (typeof name !== "string" || name.length > NAME_LENGTH_MAX || !isPlainText(name)) {
      throw new PinionError(
        "invalid-argument",
        `a reminder's name has 1 to ${NAME_LENGTH_MAX} characters and no control characters`,
      );
    }
    const { type } = turn.activation;
    if (type.methods.get(method) === undefined)
      throw unknownMethod(type.name, method, [...type.methods.keys()]);
    checkSchedule(name, schedule);
    const current = this.#current();
    if (!current.has(name) && current.size >= REMINDERS_MAX) {
      throw new PinionError("invalid-argument", `an actor has at most ${REMINDERS_MAX} reminders`);
    }
    const state: ReminderState = {
      name,
      dueMs: firstDueMs(schedule, turn.nowMs),
      generation: (current.get(name)?.generation ?? turn.nowMs) + 1,
      schedule,
      method,
      args: encodeArgs(args.map(plainOf)),
    };
    (turn.reminderOps ??= []).push({
      op: "set",
      name,
      dueMs: state.dueMs,
      body: encodeReminderBody(state),
    });
  }

  cancel(name: string): boolean {
    this.#turn.assertMayChange("cancel a reminder");
    if (!this.#current().has(name)) return false;
    (this.#turn.reminderOps ??= []).push({ op: "cancel", name });
    return true;
  }

  list(): ReminderInfo[] {
    this.#turn.assertRunning();
    return [...this.#current().values()]
      .map((r) => ({
        name: r.name,
        method: r.method,
        due: new Date(r.dueMs),
        schedule: r.schedule,
      }))
      .sort((a, b) => a.due.getTime() - b.due.getTime());
  }
}
