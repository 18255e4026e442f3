/**
 * The admin port of a host, as commands see it: JSON over HTTP, errors as the errors they are.
 */
import type { IncomingMessage } from "node:http";
import {
  ERROR_CODES,
  messageOf,
  nearestNames,
  PinionError,
  type DetailValue,
  type ErrorCode,
} from "@pinion/core";
import type {
  ActorExtentsReport,
  ActorsPage,
  HostStatus,
  InspectAnswer,
  PinsAnswer,
  ReadyReport,
  SegmentsRow,
  TypeSummary,
} from "@pinion/runtime";
import { noAnswer, type HostAddress } from "./find-host.ts";

/** Not imported: that evaluates every export, and one of them loads an HTTP client that nobody here needs. */
const { request } = process.getBuiltinModule("node:http");

/** An answer comes at once, also from a host whose worker is stuck. */
const ANSWER_MS_MAX = 10_000;
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

export interface ActorsQuery {
  readonly type?: string | undefined;
  readonly prefix?: string | undefined;
  readonly namespace?: string | undefined;
  readonly branch?: string | undefined;
  readonly limit?: number | undefined;
  readonly after?: string | undefined;
}

export interface PinsQuery {
  readonly priority?: string | undefined;
  readonly node?: number | undefined;
  readonly actor?: string | undefined;
  readonly degraded?: boolean | undefined;
  readonly limit?: number | undefined;
}

/** What is undefined is not asked for. */
function searchOf(query: object): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) search.set(name, String(value));
  }
  return search.toString();
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
    return this.#get("/api/v1/status");
  }

  types(): Promise<{ types: TypeSummary[] }> {
    return this.#get("/api/v1/types");
  }

  /** @throws `unknown-actor-type`, `invalid-argument` */
  actors(query: ActorsQuery): Promise<ActorsPage> {
    return this.#get(`/api/v1/actors?${searchOf(query)}`);
  }

  /** @throws `unknown-actor-type`, `invalid-actor-id` */
  inspect(id: string): Promise<InspectAnswer> {
    return this.#get(`/api/v1/actor?id=${encodeURIComponent(id)}`);
  }

  /** @throws `invalid-argument`, `invalid-actor-id` */
  pins(query: PinsQuery): Promise<PinsAnswer> {
    return this.#get(`/api/v1/pins?${searchOf(query)}`);
  }

  /** @throws `unknown-actor-type`, `invalid-actor-id`, `not-found` */
  extents(id: string): Promise<ActorExtentsReport> {
    return this.#get(`/api/v1/extents?id=${encodeURIComponent(id)}`);
  }

  segments(): Promise<{ segments: SegmentsRow[] }> {
    return this.#get("/api/v1/segments");
  }

  /** Whether the host can commit: also when it cannot. */
  async ready(): Promise<ReadyReport> {
    return (await this.#request("GET", "/ready", [503])) as ReadyReport;
  }

  /** Asks the host to stop in order; it answers before it does. */
  async stop(graceMs: number): Promise<void> {
    await this.#request("POST", "/api/v1/stop", [], { graceMs });
  }

  async #get<T>(path: string): Promise<T> {
    return (await this.#request("GET", path)) as T;
  }

  /** @param expected statuses other than 200 to 299 whose body is the answer */
  async #request(
    method: "GET" | "POST",
    path: string,
    expected: readonly number[] = [],
    body?: object,
  ): Promise<unknown> {
    let answer: { status: number; text: string };
    try {
      answer = await this.#exchange(method, path, body);
    } catch (error) {
      throw noAnswer(this.#host, error);
    }
    const { status, text } = answer;
    const said = parse(text);
    if ((status >= 200 && status < 300) || expected.includes(status)) return said;
    throw (
      errorOf(said) ??
      new PinionError("unavailable", `the admin port of ${this.address} answered ${status}`)
    );
  }

  #exchange(
    method: string,
    path: string,
    body: object | undefined,
  ): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const signal = AbortSignal.timeout(ANSWER_MS_MAX);
      const headers = body === undefined ? {} : { "content-type": "application/json" };
      const options = { method, headers, signal, agent: false };
      const outgoing = request(`http://${this.address}${path}`, options, (incoming) => {
        readAll(incoming).then(
          (text) => resolve({ status: incoming.statusCode ?? 0, text }),
          reject,
        );
      });
      outgoing.on("error", (error) =>
        reject(signal.aborted ? new Error(`no answer within ${ANSWER_MS_MAX / 1000} s`) : error),
      );
      outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

/** For a question that found nothing: was it a typing mistake? @throws `unknown-actor-type`, naming the nearest */
export async function assertType(admin: AdminClient, type: string): Promise<void> {
  const names = (await admin.types()).types.map(({ name }) => name);
  if (names.includes(type)) return;
  const nearest = nearestNames(type, names);
  const hint =
    nearest.length > 0 ? `did you mean ${nearest.join(" or ")}?` : `it has ${names.join(", ")}`;
  throw new PinionError("unknown-actor-type", `no actor type "${type}" on this host; ${hint}`, {
    details: { type, nearest },
  });
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
