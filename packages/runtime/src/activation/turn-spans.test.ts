/** The spans of traced turns: what they say, and that each ends. */
import { noTelemetry, type Span, type Telemetry } from "@pinion/core";
import { expect, test } from "vitest";
import { defineActor, readonly } from "../definition/define-actor.ts";
import { WorkerFixture } from "../worker/worker.test.fixture.ts";

class Recorded implements Span {
  readonly traceparent: string;
  readonly name: string;
  readonly parent: string | undefined;
  readonly attributes: Record<string, unknown> = {};
  ended: "not" | "well" | "badly" = "not";

  constructor(name: string, parent: string | undefined, index: number) {
    this.name = name;
    this.parent = parent;
    this.traceparent = `span ${index}`;
  }

  setAttribute(name: string, value: unknown): void {
    this.attributes[name] = value;
  }

  end(error?: unknown): void {
    this.ended = error === undefined ? "well" : "badly";
  }
}

const Thing = defineActor("thing", {
  state: () => ({ n: 0 }),
  methods: {
    add: (ctx, by: number): number => (ctx.state.n += by),
    value: readonly((ctx): number => ctx.state.n),
    fail(): never {
      throw new RangeError("no");
    },
  },
});

function traced(): { spans: Recorded[]; telemetry: Telemetry } {
  const spans: Recorded[] = [];
  const span = (name: string, parent?: string): Span => {
    const made = new Recorded(name, parent, spans.length);
    spans.push(made);
    return made;
  };
  return { spans, telemetry: { ...noTelemetry, tracing: true, span } };
}

test("a traced call has a span for its turn and one until its commit; others have none", async () => {
  const { spans, telemetry } = traced();
  const it = new WorkerFixture([Thing]);
  await it.start({}, undefined, telemetry);
  await it.ask({ method: "add", args: [1] });
  expect(spans).toEqual([]);
  await it.ask({ method: "add", args: [1], traceparent: "client" });
  expect(spans.map((s) => [s.name, s.parent, s.ended])).toEqual([
    ["pinion.turn thing/add", "client", "well"],
    ["pinion.commit", "span 0", "well"],
  ]);
  expect(spans[0]?.attributes).toMatchObject({
    "pinion.turn_kind": "call",
    "pinion.attempt": 1,
    "pinion.turn_ok": true,
  });
});

test("a readonly turn has no commit; a turn that throws says so", async () => {
  const { spans, telemetry } = traced();
  const it = new WorkerFixture([Thing]);
  await it.start({}, undefined, telemetry);
  await it.ask({ method: "value", traceparent: "client" });
  await it.ask({ method: "fail", traceparent: "client" });
  expect(spans.map((s) => [s.name, s.attributes["pinion.turn_ok"]])).toEqual([
    ["pinion.turn thing/value", true],
    ["pinion.turn thing/fail", false],
    ["pinion.commit", undefined],
  ]);
});

test("the span of a commit that never comes ends with the error of the log", async () => {
  const { spans, telemetry } = traced();
  const it = new WorkerFixture([Thing]);
  await it.start({}, undefined, telemetry);
  await it.ask({ method: "add", args: [1] });
  it.disk.fail({ kind: "write", error: "EIO" });
  void it.send({ method: "add", args: [1], traceparent: "client" });
  await it.clock.advance(100);
  expect(spans.map((s) => [s.name, s.ended])).toEqual([
    ["pinion.turn thing/add", "well"],
    ["pinion.commit", "badly"],
  ]);
});
