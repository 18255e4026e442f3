/**
 * A client process of the kill test: calls without pause, until it is told to stop on its standard input, and says what it asked and
 * what it was answered, one JSON value per line, each before anything that follows from it.
 */
import { createInterface } from "node:readline";
import { connect } from "@pinion/client";
import { decodeValue, isPinionError, seededRng, sleep, systemClock } from "@pinion/core";
import { makeOp, type Op } from "../../simulation/actor-ops.ts";
import type { Asked, Said } from "./kill-messages.ts";

const REMINDER_MS = 100;
const TIMEOUT_MS = 60_000;

const { endpoint, name, seed, concurrency, pauseMs } = JSON.parse(process.argv[2] as string) as {
  endpoint: string;
  name: string;
  seed: number;
  concurrency: number;
  pauseMs: number;
};

const say = (what: Said): void => void process.stdout.write(`${JSON.stringify(what)}\n`);
const rng = seededRng(seed).fork(name);
const reminded = new Set<string>();
let stopping = false;
let count = 0;

createInterface({ input: process.stdin }).once("line", () => (stopping = true));
const client = await connect(endpoint);
const spaces = new Map([
  ["default", client.namespace("default")],
  ["eu", client.namespace("eu")],
]);

async function callOnce(op: Op): Promise<void> {
  const { type, namespace, key } = op.place;
  const args = decodeValue(op.args) as unknown[];
  const asked: Asked = { id: op.id, place: op.place, to: op.to, method: op.method };
  say({ asked });
  const options = {
    timeoutMs: TIMEOUT_MS,
    ...(op.idempotencyKey === undefined ? {} : { idempotencyKey: op.idempotencyKey }),
  };
  try {
    const value = await spaces.get(namespace)?.call(type, key, op.method, args, options);
    say({ answered: op.id, ok: true, value, atMs: systemClock.wallMs() });
  } catch (error) {
    const code = isPinionError(error) ? error.code : "not-ours";
    say({ answered: op.id, ok: false, code, message: String(error), atMs: systemClock.wallMs() });
  }
}

async function work(): Promise<void> {
  while (!stopping) {
    const op = makeOp(rng, `${name}-${count++}`, 0, reminded, REMINDER_MS);
    await callOnce(op);
    if (pauseMs > 0) await sleep(systemClock, rng.float() * pauseMs * 2);
  }
}

// The clock's timers hold no process up.
const hold = setInterval(() => {}, 1_000);
await Promise.all(Array.from({ length: concurrency }, work));
say({ done: true });
await client.close();
clearInterval(hold);
process.stdin.destroy();
