/** `pinion call <actor> <method> [args...]` */
import { connect, type Client } from "@pinion/client";
import { isPinionError, parseActorId, formatActorId, valueToJson } from "@pinion/core";
import type { Command } from "commander";
import { parseArgument } from "../call/parse-argument.ts";
import { CliError } from "../cli-error.ts";
import type { CommandFrame, CommonOptions } from "../command-frame.ts";
import { findHost, noAnswer, type HostAddress, type HostChoice } from "../host-access/find-host.ts";
import { hostOptions } from "../host-access/host-options.ts";
import type { Output } from "../output/output.ts";
import { valueText } from "../output/value-text.ts";
import { durationText, roundMs } from "../output/units.ts";

interface CallCommandOptions extends CommonOptions, HostChoice {
  readonly timeout: string;
  readonly idempotencyKey?: string;
}

const CONNECT_MS_MAX = 5_000;

export function callCommand(frame: CommandFrame): Command {
  const command = frame.command("call <actor> <method> [args...]", {
    summary: "call a method of an actor and print what it returns",
    description:
      "The actor is named type/key (or namespace:type/key). Arguments are JSON; a word that is not JSON is a text.\n" +
      "Texts that look like numbers or options: '\"3\"', and -- before the first of them.",
    examples: [
      ["pinion call counter/visits increment 3", "one number"],
      [`pinion call cart/ada add apple '{"price": 1.2}'`, "a text and an object"],
    ],
    json: '{"actor", "method", "result", "tookMs"}',
  });
  return hostOptions(command, "gateway")
    .option("--timeout <ms>", "deadline of the call", "30000")
    .option("--idempotency-key <text>", "makes repeated calls with this key one call")
    .action(async (actor: string, method: string, args: string[], options: CallCommandOptions) =>
      frame.run(options, (output) => call(frame, output, actor, method, args, options)),
    );
}

async function call(
  frame: CommandFrame,
  output: Output,
  actor: string,
  method: string,
  words: readonly string[],
  options: CallCommandOptions,
): Promise<void> {
  const id = actorOf(actor);
  const args = words.map(parseArgument);
  const timeoutMs = timeoutOf(options.timeout);
  const host = await findHost(frame.io, options, "gateway");
  const client = await connectTo(host);
  try {
    const { clock } = frame.io;
    const startMs = clock.nowMs();
    const result = await client
      .namespace(id.namespace)
      .branch(id.branch)
      .call(id.type, id.key, method, args, {
        timeoutMs,
        ...(options.idempotencyKey !== undefined && { idempotencyKey: options.idempotencyKey }),
      });
    const tookMs = roundMs(clock.nowMs() - startMs);
    output.result(
      {
        actor: formatActorId(id),
        method,
        result: JSON.parse(valueToJson(result)) as unknown,
        tookMs,
      },
      () => shown(result, output),
    );
    output.note(output.paint("dim", durationText(tookMs)));
  } finally {
    await client.close(0);
  }
}

async function connectTo(host: HostAddress): Promise<Client> {
  try {
    return await connect(host.address, {
      connectTimeoutMs: CONNECT_MS_MAX,
      clientName: "pinion-cli",
    });
  } catch (error) {
    throw isPinionError(error, "unavailable") ? noAnswer(host, error) : error;
  }
}

function shown(result: unknown, output: Output): string {
  return typeof result === "string" ? result : valueText(result, output);
}

/** @throws `usage` */
export function actorOf(text: string) {
  try {
    return parseActorId(text);
  } catch (error) {
    if (!isPinionError(error)) throw error;
    throw new CliError("usage", error.message, { details: { actor: text }, cause: error });
  }
}

function timeoutOf(text: string): number {
  const ms = Number(text);
  if (!(ms > 0 && ms < 2 ** 31))
    throw new CliError("usage", `--timeout takes milliseconds above 0, not ${text}`);
  return ms;
}
