/**
 * The admin port of a host, as commands see it: JSON over HTTP, errors as the errors they are.
 */
import { request, type IncomingMessage } from "node:http";
import {
  ERROR_CODES,
  messageOf,
  PinionError,
  type DetailValue,
  type ErrorCode,
} from "@pinion/core";
import type { ActorInspection, ActorsPage, HostStatus, TypeSummary } from "@pinion/runtime";
import { noAnswer, type HostAddress } from "./find-host.ts";

/** An answer comes at once, also from a host whose worker is stuck. */
const ANSWER_MS_MAX = 10_000;
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

export interface ActorsQuery {
  readonly type?: string | undefined;
  readonly prefix?: string | undefined;
  readonly namespace?: string | undefined;
  readonly limit?: number | undefined;
  readonly after?: string | undefined;
}

export class AdminClient {
  readonly #host: HostAddress;

  constructor(host: HostAddress) {
    this.#host = host;
  }

  get address(): string {
    return this.#host.address;
  }

  status(): Promise<HostStatus> {
    return this.#get("/api/status");
  }

  types(): Promise<{ types: TypeSummary[] }> {
    return this.#get("/api/types");
  }

  /** @throws `unknown-actor-type`, `invalid-argument` */
  actors(query: ActorsQuery): Promise<ActorsPage> {
    const given = Object.entries(query).filter(([, value]) => value !== undefined);
    const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
    return this.#get(`/api/actors?${search}`);
  }

  /** @throws `unknown-actor-type`, `invalid-actor-id` */
  inspect(id: string): Promise<ActorInspection> {
    return this.#get(`/api/actors/inspect?id=${encodeURIComponent(id)}`);
  }

  /** Asks the host to stop in order; it answers before it does. */
  async stop(): Promise<void> {
    await this.#request("POST", "/api/stop");
  }

  async #get<T>(path: string): Promise<T> {
    return (await this.#request("GET", path)) as T;
  }

  async #request(method: "GET" | "POST", path: string): Promise<unknown> {
    let answer: { status: number; text: string };
    try {
      answer = await this.#exchange(method, path);
    } catch (error) {
      throw noAnswer(this.#host, error);
    }
    const body = parse(answer.text);
    if (answer.status >= 200 && answer.status < 300) return body;
    throw (
      errorOf(body) ??
      new PinionError("unavailable", `the admin port of ${this.address} answered ${answer.status}`)
    );
  }

  #exchange(method: string, path: string): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const url = `http://${this.address}${path}`;
      const signal = AbortSignal.timeout(ANSWER_MS_MAX);
      const outgoing = request(url, { method, signal, agent: false }, (incoming) => {
        readAll(incoming).then(
          (text) => resolve({ status: incoming.statusCode ?? 0, text }),
          reject,
        );
      });
      outgoing.on("error", (error) =>
        reject(signal.aborted ? new Error(`no answer within ${ANSWER_MS_MAX / 1000} s`) : error),
      );
      outgoing.end();
    });
  }
}

async function readAll(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX)
      throw new Error(`an answer of more than ${ANSWER_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new PinionError(
      "malformed-frame",
      `the admin port did not answer in JSON (is it another program's port?): ${messageOf(error)}`,
    );
  }
}

/** The host's error as it was thrown there. */
function errorOf(body: unknown): PinionError | undefined {
  const error = (body as { error?: Partial<Record<string, unknown>> } | null)?.error;
  const { code, message, details } = error ?? {};
  if (typeof code !== "string" || typeof message !== "string") return undefined;
  const known = (ERROR_CODES as readonly string[]).includes(code);
  return new PinionError(known ? (code as ErrorCode) : "internal", message, {
    details: (details ?? {}) as Record<string, DetailValue>,
  });
}
