/**
 * One line that shows how far the stream is: redrawn in place on a terminal, a new line now and then where there is none.
 */
import type { StreamStats } from "./flight-stream.ts";
import { bar, integer, milliseconds } from "./text.ts";

const REDRAW_MS = 100;
const LOG_LINE_MS = 4_000;
const BAR_WIDTH = 24;
/** The rate is that of the last second, or since the last line. */
const RATE_SAMPLES = 1_000 / REDRAW_MS;

export class Progress {
  readonly #out: NodeJS.WriteStream;
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
    const kept = this.#out.isTTY ? RATE_SAMPLES : 2;
    if (this.#samples.length > kept) this.#samples.shift();
    const first = this.#samples.length > 1 ? this.#samples[0]! : { atMs: this.#startMs, count: 0 };
    const perSecond = ((acknowledged - first.count) / (nowMs - first.atMs)) * 1000;
    const elapsedMs = Math.min(this.#durationMs, nowMs - this.#startMs);
    return [
      bar(elapsedMs / this.#durationMs, BAR_WIDTH),
      `${String(Math.floor(elapsedMs / 1000)).padStart(2)} s`,
      `${integer(acknowledged).padStart(9)} records`,
      `${integer(perSecond).padStart(7)}/s`,
      `p99 ${milliseconds(latencyUs.percentile(99) / 1000)}`,
    ].join("  ");
  }
}
