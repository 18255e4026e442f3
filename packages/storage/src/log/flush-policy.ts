/**
 * When the log flushes, and what a caller may rely on before it has. One mechanism {records, waitMs, replyWaits} with named
 * presets; which one to take is a trade of latency, throughput and what a power cut may take:
 *
 * | policy | a flush starts | a power cut may take |
 * |---|---|---|
 * | `group` (default) | as soon as something waits and none is running; what comes meanwhile shares the next | nothing that was answered |
 * | `sync` | for every record, one at a time | nothing that was answered |
 * | `batched(n)` | at n records, or 10 ms after the first of them | nothing that was answered |
 * | `batchedOrPeriodic(n, ms)` | at n records, or `ms` after the first of them | nothing that was answered |
 * | `periodic(ms)` | `ms` after the first record that waits | the last `ms` plus one flush |
 * | `async` | full segments in the background, on request and at a stop; written to the kernel at 64 KiB or after 10 ms | what the kernel had not written back and what waits in memory: at most five segments and two staging buffers |
 *
 * The last two let replies go at once. A process that is killed while the machine lives on loses only what had not
 * been written: nothing that was answered for the first four; for the last two what came during the wait, or what fills the two
 * staging buffers while the disk does not keep up.
 */
import { PinionError } from "@pinion/core";
import type { FlushPolicy } from "./log.ts";

const BATCH_WAIT_MS = 10;
const ASYNC_WRITE_WAIT_MS = 10;
const RECORDS_MAX = 1_000_000;
const WAIT_MS_MAX = 60_000;
/** "No number of records starts a flush": the buffer's size still does. */
const NO_COUNT = Number.MAX_SAFE_INTEGER;

const frozen = (policy: FlushPolicy): FlushPolicy => Object.freeze(policy);

function checked(name: string, value: number, unit: string, max: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new PinionError(
    "config-invalid",
    `flush policy ${name}: ${value} ${unit} is out of range, it must be a whole number from 1 to ${max}`,
    { details: { key: "flush", value: String(value), min: 1, max } },
  );
}

const group: FlushPolicy = frozen({ name: "group", records: 1, waitMs: 0, replyWaits: true });

const sync: FlushPolicy = frozen({ name: "sync", records: 1, waitMs: 0, replyWaits: true });

/** @param records 1 … 1,000,000 @throws `config-invalid` */
function batched(records: number): FlushPolicy {
  checked("batched", records, "records", RECORDS_MAX);
  return frozen({ name: "batched", records, waitMs: BATCH_WAIT_MS, replyWaits: true });
}

/** @param records 1 … 1,000,000 @param waitMs 1 … 60,000 @throws `config-invalid` */
function batchedOrPeriodic(records: number, waitMs: number): FlushPolicy {
  checked("batchedOrPeriodic", records, "records", RECORDS_MAX);
  checked("batchedOrPeriodic", waitMs, "ms", WAIT_MS_MAX);
  return frozen({ name: "batchedOrPeriodic", records, waitMs, replyWaits: true });
}

/** @param waitMs 1 … 60,000 @throws `config-invalid` */
function periodic(waitMs: number): FlushPolicy {
  checked("periodic", waitMs, "ms", WAIT_MS_MAX);
  return frozen({ name: "periodic", records: NO_COUNT, waitMs, replyWaits: false });
}

const asynchronous: FlushPolicy = frozen({
  name: "async",
  records: NO_COUNT,
  waitMs: ASYNC_WRITE_WAIT_MS,
  replyWaits: false,
});

/** The named policies: `flushPolicy.group`, `flushPolicy.batched(100)`, … */
export const flushPolicy = Object.freeze({
  group,
  sync,
  batched,
  batchedOrPeriodic,
  periodic,
  async: asynchronous,
});

export const FLUSH_POLICY_FORMS = Object.freeze([
  "group",
  "sync",
  "batched(100)",
  "batchedOrPeriodic(1000, 5ms)",
  "periodic(5ms)",
  "async",
]);

const CALL = /^([a-z]+)(?:\(([^()]*)\))?$/i;

/**
 * Reads a policy from configuration text: one of `FLUSH_POLICY_FORMS`, with other numbers. Times take `ms` or `s`.
 * @throws `config-invalid`
 */
export function parseFlushPolicy(text: string): FlushPolicy {
  const [, name = "", list] = CALL.exec(text.trim()) ?? [];
  const args = list === undefined ? [] : list.split(",").map((arg) => arg.trim());
  const build = BUILDERS[name.toLowerCase()];
  if (build === undefined) {
    throw invalid(text, `unknown flush policy "${text.trim()}"`);
  }
  if (args.length !== build.arity) {
    throw invalid(
      text,
      `flush policy ${name} takes ${build.arity} argument${build.arity === 1 ? "" : "s"}, not ${args.length}`,
    );
  }
  return build.make(args, text);
}

interface Builder {
  readonly arity: number;
  make(args: readonly string[], text: string): FlushPolicy;
}

const BUILDERS: Readonly<Record<string, Builder>> = Object.assign(Object.create(null) as object, {
  group: { arity: 0, make: () => group },
  sync: { arity: 0, make: () => sync },
  batched: { arity: 1, make: ([n], text) => batched(parseCount(n!, text)) },
  batchedorperiodic: {
    arity: 2,
    make: ([n, wait], text) => batchedOrPeriodic(parseCount(n!, text), parseMs(wait!, text)),
  },
  periodic: { arity: 1, make: ([wait], text) => periodic(parseMs(wait!, text)) },
  async: { arity: 0, make: () => asynchronous },
} satisfies Record<string, Builder>);

function parseCount(arg: string, text: string): number {
  if (!/^\d+$/.test(arg))
    throw invalid(text, `"${arg}" in flush policy "${text.trim()}" is not a number of records`);
  return Number(arg);
}

function parseMs(arg: string, text: string): number {
  const [, digits, unit] = /^(\d+)\s*(ms|s)$/i.exec(arg) ?? [];
  if (digits === undefined) {
    throw invalid(
      text,
      `"${arg}" in flush policy "${text.trim()}" is not a time: write it as 5ms or 1s`,
    );
  }
  return Number(digits) * (unit!.toLowerCase() === "s" ? 1000 : 1);
}

function invalid(text: string, message: string): PinionError {
  return new PinionError(
    "config-invalid",
    `${message}; write one of: ${FLUSH_POLICY_FORMS.join(", ")}`,
    {
      details: { key: "flush", value: text },
    },
  );
}

/** The text `parseFlushPolicy` reads back as this policy. */
export function describeFlushPolicy(policy: FlushPolicy): string {
  switch (policy.name) {
    case "batched":
      return `batched(${policy.records})`;
    case "batchedOrPeriodic":
      return `batchedOrPeriodic(${policy.records}, ${policy.waitMs}ms)`;
    case "periodic":
      return `periodic(${policy.waitMs}ms)`;
    case "group":
    case "sync":
    case "async":
      return policy.name;
  }
}
