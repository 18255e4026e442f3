/**
 * Calls by due time: a binary heap and one timer for all of them, so that a deadline costs no timer of its own. A call that
 * is settled is taken out at once, so the heap never holds more than the pending calls.
 *
 * I1 the timer is set for the first call in the heap, or there is none.
 */
import type { Clock, Timer } from "@pinion/core";
import { careOf, type PendingCall } from "./pending-call.ts";

export class DeadlineQueue {
  readonly #heap: PendingCall[] = [];
  /** Due times as they were when entered: a call's own may change only through `update`. */
  readonly #due: number[] = [];
  readonly #clock: Clock;
  readonly #onDue: (call: PendingCall) => void;
  #timer: Timer | undefined;
  #timerAtMs = Infinity;

  constructor(clock: Clock, onDue: (call: PendingCall) => void) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  get size(): number {
    return this.#heap.length;
  }

  /** Enters the call, or moves it to its present due time. */
  update(call: PendingCall): void {
    this.remove(call);
    const care = careOf(call);
    if (care.dueAtMs === Infinity) return;
    care.queueIndex = this.#heap.length;
    this.#heap.push(call);
    this.#due.push(care.dueAtMs);
    this.#up(care.queueIndex);
    this.#arm();
  }

  remove(call: PendingCall): void {
    const { care } = call;
    if (care === undefined || care.queueIndex < 0) return;
    const index = care.queueIndex;
    care.queueIndex = -1;
    const last = this.#heap.pop() as PendingCall;
    const lastDue = this.#due.pop() as number;
    if (last === call) return;
    this.#place(index, last, lastDue);
    this.#up(index);
    this.#down(careOf(last).queueIndex);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAtMs = Infinity;
  }

  /** A timer that comes too early finds nothing and is set again: cheaper than moving it with every removal. */
  #arm(): void {
    const firstMs = this.#due[0];
    if (firstMs === undefined || firstMs >= this.#timerAtMs) return;
    this.#timer?.cancel();
    this.#timerAtMs = firstMs;
    this.#timer = this.#clock.setTimer(Math.max(0, firstMs - this.#clock.nowMs()), () =>
      this.#fire(),
    );
  }

  #fire(): void {
    this.#timer = undefined;
    this.#timerAtMs = Infinity;
    const nowMs = this.#clock.nowMs();
    while (this.#heap.length > 0 && (this.#due[0] as number) <= nowMs) {
      const call = this.#heap[0] as PendingCall;
      this.remove(call);
      this.#onDue(call);
    }
    this.#arm();
  }

  #place(index: number, call: PendingCall, dueMs: number): void {
    this.#heap[index] = call;
    this.#due[index] = dueMs;
    careOf(call).queueIndex = index;
  }

  #up(from: number): void {
    const call = this.#heap[from] as PendingCall;
    const dueMs = this.#due[from] as number;
    let index = from;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if ((this.#due[parent] as number) <= dueMs) break;
      this.#place(index, this.#heap[parent] as PendingCall, this.#due[parent] as number);
      index = parent;
    }
    this.#place(index, call, dueMs);
  }

  #down(from: number): void {
    const count = this.#heap.length;
    const call = this.#heap[from] as PendingCall;
    const dueMs = this.#due[from] as number;
    let index = from;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= count) break;
      if (child + 1 < count && (this.#due[child + 1] as number) < (this.#due[child] as number))
        child++;
      if ((this.#due[child] as number) >= dueMs) break;
      this.#place(index, this.#heap[child] as PendingCall, this.#due[child] as number);
      index = child;
    }
    this.#place(index, call, dueMs);
  }
}
