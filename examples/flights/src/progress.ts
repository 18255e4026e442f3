/**
 * One line that shows how far the stream is: redrawn in place on a terminal, a new line now and then where there is none.
 */
import type { WriteStream } from "node:tty";
import type { StreamStats } from "./flight-stream.ts";
import { bar, integer, milliseconds } from "./text.ts";

const REDRAW_MS = 100;
const LOG_LINE_MS = 4_000;
const BAR_WIDTH = 24;
/** Rate over the last so many samples. */
const RATE_SAMPLES = 10;

export class Progress {
  readonly #out: WriteStream | (NodeJS.WritableStream & { readonly isTTY?: false });
  readonly #stats: StreamStats;
  readonly #durationMs: number;
  readonly #startMs = performance.now();
  readonly #timer: NodeJS.Timeout;
  readonly #samples: { readonly atMs: number; readonly count: number }[] = [];

  constructor(out: NodeJS.WriteStream, stats: StreamStats, durationMs: number) {
    this.#out = out;
    this.#stats = stats;
    this.#durationMs = durationMs;
    this.#timer = setInterval(() => this.#draw(), out.isTTY ? REDRAW_MS : LOG_LINE_MS);
  }

  /** A line that stays, above the bar. */
  note(text: string): void {
    this.#clear();
    this.#out.write(`  ${text}\n`);
    if (this.#out.isTTY) this.#draw();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#clear();
  }

  #draw(): void {
    const line = `  ${this.#line()}`;
    if (!this.#out.isTTY) this.#out.write(`${line}\n`);
    else this.#out.write(`\r${line.slice(0, this.#out.columns - 1)}\u001b[K`);
  }

  #clear(): void {
    if (this.#out.isTTY) this.#out.write("\r\u001b[K");
  }

  #line(): string {
    const { acknowledged, latencyUs } = this.#stats;
    const nowMs = performance.now();
    this.#samples.push({ atMs: nowMs, count: acknowledged });
    if (this.#samples.length > RATE_SAMPLES) this.#samples.shift();
    const first = this.#samples.length > 1 ? this.#samples[0]! : { atMs: this.#startMs, count: 0 };
    const perSecond = ((acknowledged - first.count) / (nowMs - first.atMs)) * 1000;
    const elapsedMs = Math.min(this.#durationMs, nowMs - this.#startMs);
    return [
      bar(elapsedMs / this.#durationMs, BAR_WIDTH),
      `${(elapsedMs / 1000).toFixed(0).padStart(2)} s`,
      `${integer(acknowledged).padStart(9)} records`,
      `${integer(perSecond).padStart(7)}/s`,
      `p99 ${milliseconds(latencyUs.percentile(99) / 1000)}`,
    ].join("  ");
  }
}
