/** What a host says about itself: metrics that are all alive, spans that hang together, and a log that can be read. */
import {
  context,
  trace,
  TraceFlags,
  type Context,
  type Span,
  type SpanContext,
  type SpanOptions,
  type Tracer,
} from "@opentelemetry/api";
import { connect } from "@pinion/client";
import { noTelemetry } from "@pinion/core";
import { column } from "@pinion/storage";
import { defineActor, readonly, startHost } from "@pinion/runtime";
import { afterEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { HostProcess } from "../support/host-process.ts";
import { temporaryDir } from "../support/temporary-dir.ts";
import { Counter } from "./fixtures/counter.ts";

const QUIET = { port: 0, adminPort: 0, logLevel: "silent" } as const;

type Samples = Map<string, { labels: string; value: number }[]>;

/** By metric family: `name_bucket`, `name_sum` and `name_count` belong to `name`. */
function parseMetrics(text: string): Samples {
  const families: Samples = new Map();
  for (const line of text.split("\n")) {
    const type = /^# TYPE (\S+) (\S+)$/.exec(line);
    if (type !== null) families.set(type[1] as string, []);
    const sample = /^([a-zA-Z_]\w*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (sample === null) continue;
    const [, name = "", labels = "", value] = sample;
    const family = families.has(name) ? name : name.replace(/_(?:bucket|sum|count)$/, "");
    families.get(family)?.push({ labels, value: value === "+Inf" ? Infinity : Number(value) });
  }
  return families;
}

const total = (samples: Samples, name: string): number =>
  (samples.get(name) ?? []).reduce((sum, { value }) => sum + value, 0);

/** What each of our metrics must say after the workload below. A metric that is not here is one that nobody looks at. */
const zero = (value: number): boolean => value === 0;
const positive = (value: number): boolean => value > 0;
const any = (value: number): boolean => value >= 0;
const EXPECTED: Readonly<Record<string, (value: number) => boolean>> = {
  pinion_turns_total: (n) => n >= 100,
  pinion_turn_seconds: positive,
  pinion_activations: (n) => n >= 10,
  pinion_sessions: positive,
  pinion_outbox_entries: any,
  pinion_dedupe_entries: any,
  pinion_dedupe_bytes: any,
  pinion_pending_calls: zero,
  pinion_waiting_turns: zero,
  pinion_abandoned_turns: zero,
  pinion_checkpoints_total: any,
  pinion_checkpoint_failing: zero,
  pinion_checkpoint_log_bytes: positive,
  pinion_checkpoint_dirty_bytes: positive,
  pinion_checkpoint_copied_bytes: any,
  pinion_recovery_records: zero,
  pinion_recovery_seconds: positive,
  pinion_clock_ahead_seconds: any,
  pinion_worker_serving: (n) => n === 1,
  pinion_gateway_streams: (n) => n === 1,
  pinion_gateway_in_flight_calls: zero,
  pinion_gateway_in_flight_bytes: zero,
  pinion_gateway_refused_calls_total: zero,
  pinion_log_flushes_total: positive,
  pinion_log_records_total: (n) => n >= 100,
  pinion_log_written_bytes_total: positive,
  pinion_log_flush_seconds: positive,
  pinion_log_refused: zero,
  pinion_log_refused_total: zero,
  pinion_log_segments: positive,
  pinion_log_waiting_bytes: any,
  pinion_log_archive_backlog_segments: zero,
  pinion_log_archive_backlog_bytes: zero,
  pinion_log_troubles: zero,
  pinion_worker_up: (n) => n === 1,
  pinion_worker_silence_seconds: (n) => n < 2,
  pinion_probe_seconds: positive,
  pinion_host_degradations: any,
  pinion_quarantined_calls: zero,
  pinion_memory_used_share: (n) => n > 0 && n < 1,
  pinion_memory_pressure_action: any,
  // None while the history is short.
  pinion_memory_forecast_share: any,
  pinion_memory_seconds_to_critical: positive,
  pinion_pinned_bytes: positive,
  pinion_pins: positive,
  pinion_pin_budget_bytes: positive,
  pinion_pin_budget_used_bytes: positive,
  pinion_pin_locked_bytes: any,
  pinion_pin_degraded: zero,
  pinion_pin_degradations_total: zero,
  pinion_pin_evictions_total: zero,
  pinion_pin_numa_local_share: any,
  pinion_pin_node_bytes: any,
  pinion_pin_numa_moves_total: zero,
  pinion_pin_numa_moved_bytes_total: zero,
  pinion_pin_huge_share: any,
  pinion_pin_mean_seconds: zero,
  pinion_pin_promotions_total: zero,
  pinion_pin_demotions_total: zero,
  pinion_pin_hints_total: zero,
  pinion_resident_extents: (n) => n === 1,
  pinion_resident_extent_bytes: positive,
  pinion_pool_hits_total: any,
  pinion_pool_misses_total: any,
  pinion_pool_evictions_total: any,
  pinion_pool_damaged_total: any,
  pinion_pool_prefetches_used_total: any,
  pinion_pool_prefetches_wasted_total: any,
  pinion_arena_committed_bytes: positive,
  pinion_arena_fragmentation: any,
  pinion_major_faults_total: any,
  // Only there once a worker was started again.
  pinion_worker_restarts_total: zero,
};
const ONLY_WHEN_NEEDED = new Set([
  "pinion_worker_restarts_total",
  "pinion_log_refused",
  "pinion_log_refused_total",
]);

const Waiter = defineActor("waiter", {
  state: () => 0,
  memory: { extents: { waited: column("f64") } },
  methods: {
    async wait(ctx) {
      await ctx.extents.waited.append(1);
      await new Promise((resolve) => setImmediate(resolve));
      return (ctx.state += 1);
    },
  },
});

describe("/metrics", () => {
  it("has a value that makes sense for every metric there is, and no metric nobody knows", async () => {
    await using dir = await temporaryDir();
    const options = { ...QUIET, actors: [Counter, Waiter], dataDir: dir.path };
    await using host = await startHost(options);
    await using client = await connect(host.endpoint);
    for (let i = 0; i < 100; i++) await client.get(Counter, `c${i % 10}`).increment(1);
    await client.get(Waiter, "w").wait();
    const page = async (): Promise<Samples> =>
      parseMetrics(await (await fetch(`http://${host.adminEndpoint}/metrics`)).text());
    const samples = await eventually("a probe has been committed", async () => {
      const now = await page();
      return total(now, "pinion_probe_seconds") > 0 ? now : undefined;
    });
    const ours = [...samples.keys()].filter((name) => name.startsWith("pinion_"));
    expect(ours.filter((name) => EXPECTED[name] === undefined)).toEqual([]);
    for (const [name, makesSense] of Object.entries(EXPECTED)) {
      if (ONLY_WHEN_NEEDED.has(name) && !samples.has(name)) continue;
      expect(samples.has(name), name).toBe(true);
      expect(makesSense(total(samples, name)), `${name} is ${total(samples, name)}`).toBe(true);
    }
    // Those of Node and the process are there once per thread, and once.
    expect(samples.get("nodejs_heap_size_used_bytes")).toHaveLength(2);
    expect(samples.get("process_cpu_user_seconds_total")).toHaveLength(1);
  });
});

interface Recorded {
  readonly name: string;
  readonly id: string;
  readonly traceId: string;
  readonly parent: string | undefined;
  ended: boolean;
}

/** The smallest tracer provider: what an SDK would export. */
class Recorder {
  readonly spans: Recorded[] = [];

  getTracer(): Tracer {
    const startSpan = (name: string, _options?: SpanOptions, parent?: Context): Span =>
      this.#start(name, parent ?? context.active());
    return { startSpan, startActiveSpan: () => undefined } as unknown as Tracer;
  }

  #start(name: string, parentContext: Context): Span {
    const parent = trace.getSpanContext(parentContext);
    const hex = (this.spans.length + 1).toString(16);
    const spanContext: SpanContext = {
      traceId: parent?.traceId ?? hex.padStart(32, "a"),
      spanId: hex.padStart(16, "0"),
      traceFlags: TraceFlags.SAMPLED,
    };
    const { traceId, spanId: id } = spanContext;
    const recorded: Recorded = { name, id, traceId, parent: parent?.spanId, ended: false };
    this.spans.push(recorded);
    const span = {
      spanContext: () => spanContext,
      setAttribute: () => span,
      setStatus: () => span,
      recordException: () => {},
      end: () => void (recorded.ended = true),
    };
    return span as unknown as Span;
  }
}

const Teller = defineActor("teller", {
  state: () => 0,
  methods: {
    pay(ctx) {
      ctx.state += 1;
      return ctx.get(Counter, "till").increment(1);
    },
    paid: readonly((ctx) => ctx.state),
  },
});

describe("spans", () => {
  afterEach(() => trace.disable());

  it("go from the client over gateway and turn to the commit, and on into calls of actors", async () => {
    const recorder = new Recorder();
    trace.setGlobalTracerProvider(recorder);
    await using dir = await temporaryDir();
    const options = { ...QUIET, actors: [Counter, Teller], dataDir: dir.path };
    await using host = await startHost(options);
    await using client = await connect(host.endpoint);
    await client.get(Teller, "t").pay();
    const byName = (name: string): Recorded => {
      const found = recorder.spans.filter((span) => span.name === name);
      expect(found, name).toHaveLength(1);
      return found[0] as Recorded;
    };
    const call = byName("pinion.call teller/pay");
    const gateway = byName("pinion.gateway teller/pay");
    const turn = byName("pinion.turn teller/pay");
    const inner = byName("pinion.turn counter/increment");
    expect(gateway.parent).toBe(call.id);
    expect(turn.parent).toBe(gateway.id);
    expect(inner.parent).toBe(turn.id);
    const commits = recorder.spans.filter((span) => span.name === "pinion.commit");
    expect(new Set(commits.map((span) => span.parent))).toEqual(new Set([inner.id, turn.id]));
    expect(new Set(recorder.spans.map((span) => span.traceId)).size).toBe(1);
    expect(recorder.spans.filter((span) => !span.ended)).toEqual([]);
  });

  it("are not made for calls of a client that is not traced", async () => {
    await using dir = await temporaryDir();
    await using host = await startHost({ ...QUIET, actors: [Counter], dataDir: dir.path });
    const recorder = new Recorder();
    await using client = await connect(host.endpoint, { telemetry: noTelemetry });
    trace.setGlobalTracerProvider(recorder);
    expect(await client.get(Counter, "a").increment(1)).toBe(1);
    expect(recorder.spans).toEqual([]);
  });
});

it("the log is one object of JSON a line where that is asked for", async () => {
  await using dir = await temporaryDir();
  await using host = await HostProcess.start({ dataDir: dir.path, logFormat: "json" });
  await host.stop();
  const lines = host.program.stderr.trim().split("\n");
  expect(lines.length).toBeGreaterThan(0);
  for (const line of lines) {
    expect(JSON.parse(line)).toMatchObject({
      level: expect.stringMatching(/^(?:info|warn|error)$/) as string,
      thread: expect.any(String) as string,
      time: expect.stringMatching(/^\d{4}-/) as string,
      msg: expect.any(String) as string,
    });
  }
});
