/**
 * What `npm start` runs: real flight records through actors, the host killed in the middle, every answer checked.
 *
 * This process is the client. The host is a process of its own (host.ts) that this one starts, kills with SIGKILL half-way
 * and starts again, while the stream of calls goes on by itself.
 */
import { resolve } from "node:path";
import { connect, type Client } from "@pinion/client";
import type { HostStatus } from "@pinion/runtime";
import { checkAnswers } from "./answer-check.ts";
import { expectedAnswers } from "./expected-answers.ts";
import { readAirportNames, readFlights } from "./flight-records.ts";
import { newStreamStats, streamFlights } from "./flight-stream.ts";
import { HostProcess, type HostReady } from "./host-process.ts";
import { showLargeActor } from "./large-actor.ts";
import { DEFAULT_DATA_DIR, readOptions, USAGE, UsageError, type DemoOptions } from "./options.ts";
import { Progress } from "./progress.ts";
import { printCheck, printDelays, printNextSteps, printStream } from "./report.ts";
import { integer, milliseconds, paint, pathText } from "./text.ts";

const DELIVERY_MS_MAX = 20_000;
const INTERRUPTED_EXIT_CODE = 130;

const say = (text = ""): void => console.log(text);

async function main(options: DemoOptions): Promise<void> {
  const stop = new AbortController();
  const host = new HostProcess({ dataDir: options.dataDir }, (error) => stop.abort(error));
  const interrupt = (): void => {
    // The second time somebody is in a hurry.
    if (stop.signal.aborted) void host.kill().finally(() => process.exit(INTERRUPTED_EXIT_CODE));
    process.exitCode = INTERRUPTED_EXIT_CODE;
    stop.abort(new Error("interrupted: stopping the host"));
  };
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
  try {
    const ready = await host.start();
    announce(ready, host);
    // A host on the same machine is back soon: look often.
    const client = await connect(ready.endpoint, { reconnectDelayMsMax: 250 });
    let namespace: string | undefined;
    try {
      namespace = await run(options, host, client, stop.signal);
    } finally {
      await client.close(0);
    }
    await host.stop();
    if (namespace === undefined) return;
    if (options.stateBytes > 0)
      await showLargeActor(ready.dataDir, options.stateBytes, stop.signal);
    printNextSteps(namespace, ready.dataDir, resolve(ready.dataDir) === DEFAULT_DATA_DIR);
  } finally {
    await host.stop();
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  }
}

function announce(ready: HostReady, host: HostProcess): void {
  say(`Host ${host.pid} at ${paint("bold", ready.endpoint)}, data in ${pathText(ready.dataDir)}`);
  for (const note of ready.notes) say(`  ${paint("yellow", note)}`);
}

/** @returns the namespace with the flights; undefined when an answer was wrong */
async function run(
  options: DemoOptions,
  host: HostProcess,
  client: Client,
  signal: AbortSignal,
): Promise<string | undefined> {
  const [flights, airportNames] = await Promise.all([readFlights(), readAirportNames()]);
  // A namespace of its own: what earlier runs have left stays theirs.
  const namespace = `flights-${new Date().toISOString().replace(/\D/g, "").slice(0, 14)}`;
  const space = client.namespace(namespace);
  const stats = newStreamStats();

  say(
    `Streaming ${integer(flights.length)} flights again and again for ${options.durationMs / 1000} s, ` +
      `${options.inFlight} calls at a time, into namespace ${namespace}`,
  );
  const startMs = performance.now();
  const progress = new Progress(process.stdout, stats, options.durationMs);
  let sent: number;
  try {
    const stream = streamFlights(space, flights, stats, { ...options, signal });
    const crash = killAndRestart(host, options.durationMs / 2, client, progress, signal);
    [sent] = await abortable(Promise.all([stream, crash]), signal);
  } finally {
    progress.stop();
  }
  printStream(stats, performance.now() - startMs, client.stats().retries);

  const check = checkAnswers(space, expectedAnswers(flights, sent), DELIVERY_MS_MAX);
  const result = await abortable(check, signal);
  printDelays(result, airportNames, sent / flights.length);
  printCheck(result, flights.length, sent);
  if (result.differences.length === 0) return namespace;
  process.exitCode = 1;
  return undefined;
}

/** `kill -9` after `delayMs`, with calls in the air, and a new host on the same ports and files. */
async function killAndRestart(
  host: HostProcess,
  delayMs: number,
  client: Client,
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  await abortable(new Promise((done) => setTimeout(done, delayMs)), signal);
  const pid = host.pid;
  const underWay = client.stats().pending;
  const killedAtMs = performance.now();
  await host.kill();
  progress.note(`${paint("red", "kill -9")} host ${pid}, ${underWay} calls under way`);
  const { adminEndpoint } = await host.start();
  const downMs = performance.now() - killedAtMs;
  const records = await recoveredRecords(adminEndpoint);
  progress.note(
    `host ${host.pid} has read ${integer(records)} records of its log and serves again, ${milliseconds(downMs)} after the kill`,
  );
}

/** From the host's admin port, as `pinion status` shows it. */
async function recoveredRecords(adminEndpoint: string): Promise<number> {
  const response = await fetch(`http://${adminEndpoint}/api/v1/status`);
  const { workers } = (await response.json()) as HostStatus;
  return workers.reduce((sum, { status }) => sum + (status?.recovery.records ?? 0), 0);
}

/** What `promise` gives, unless the signal aborts first. */
async function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason as Error);
  signal.addEventListener("abort", onAbort);
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

try {
  const options = readOptions(process.argv.slice(2), process.env);
  if (options === "help") say(USAGE);
  else await main(options);
} catch (e) {
  const usage = e instanceof UsageError;
  console.error(`${paint("red", "error:")} ${e instanceof Error ? e.message : String(e)}`);
  if (usage) console.error(USAGE);
  process.exitCode ||= usage ? 2 : 1;
}
