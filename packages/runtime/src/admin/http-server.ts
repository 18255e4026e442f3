/**
 * A small HTTP server for people, probes and the command line: JSON in, JSON out, typed errors.
 *
 * W1 every request is answered, within `requestTimeoutMs` of reading it; bodies are at most `BODY_BYTES_MAX`.
 * W2 what a web page in somebody's browser could send here is refused: requests that carry an `Origin`, and changes whose
 *    body is not announced as JSON.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { isPinionError, messageOf, PinionError, systemCode, type ErrorCode } from "@pinion/core";

/** Not imported: that evaluates every export, and one of them loads an HTTP client, a third of the start of the thread that serves here. */
const { createServer } = process.getBuiltinModule("node:http");

const BODY_BYTES_MAX = 64 * 1024;
const CONNECTIONS_MAX = 256;
const REQUEST_TIMEOUT_MS = 10_000;
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|::1|\[::1\])$/;

export interface HttpRequest {
  readonly query: URLSearchParams;
  /** Parsed JSON of the body; `{}` without one. */
  readonly body: Readonly<Record<string, unknown>>;
}

export interface HttpAnswer {
  readonly status?: number;
  /** Sent as JSON unless `text` is given. */
  readonly json?: unknown;
  readonly text?: string;
  readonly contentType?: string;
}

export type HttpHandler = (request: HttpRequest) => HttpAnswer | Promise<HttpAnswer>;
/** By "GET /path". */
export type HttpRoutes = ReadonlyMap<string, HttpHandler>;

export interface HttpServerOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Allows addresses other machines can reach. */
  readonly insecurePlaintext: boolean;
  readonly routes: HttpRoutes;
}

export class HttpServer {
  readonly #server: Server;
  readonly #options: HttpServerOptions;

  /** @throws `config-invalid` for an address that is not a loopback one, without `insecurePlaintext` */
  constructor(options: HttpServerOptions) {
    if (!LOOPBACK.test(options.host) && !options.insecurePlaintext) {
      throw new PinionError(
        "config-invalid",
        `the admin port on ${options.host} would let other machines stop this host and read its state; use a loopback address, or set insecurePlaintext if the network is trusted`,
        { details: { key: "adminHost", value: options.host } },
      );
    }
    this.#options = options;
    this.#server = createServer(
      { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS },
      (request, response) => void this.#serve(request, response),
    );
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  /** "host:port", once it listens. */
  get address(): string {
    const { address, port, family } = this.#server.address() as AddressInfo;
    return family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`;
  }

  /** @throws `port-in-use`, `io-error` */
  async start(): Promise<void> {
    const { host, port } = this.#options;
    await new Promise<void>((resolve, reject) => {
      const failed = (error: Error): void => reject(listenError(error, host, port));
      this.#server.once("error", failed);
      this.#server.listen({ host: host.replace(/^\[|\]$/g, ""), port, exclusive: true }, () => {
        this.#server.off("error", failed);
        // A connection that breaks is its peer's affair.
        this.#server.on("error", () => {});
        resolve();
      });
    });
  }

  /** Stops listening; connections that are idle, or do not end by themselves soon, are cut. */
  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    const cut = setTimeout(() => this.#server.closeAllConnections(), 500);
    await closed;
    clearTimeout(cut);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      send(response, await this.#answer(request));
    } catch (error) {
      if (!response.headersSent) send(response, errorAnswer(error));
      else response.destroy();
    }
  }

  async #answer(request: IncomingMessage): Promise<HttpAnswer> {
    const { routes } = this.#options;
    const url = new URL(request.url ?? "/", "http://admin");
    const method = request.method === "HEAD" ? "GET" : (request.method ?? "GET");
    if (request.headers.origin !== undefined)
      throw new PinionError("permission-denied", "requests from web pages are not answered");
    const handler = routes.get(`${method} ${url.pathname}`);
    if (handler === undefined) {
      const known = [...routes.keys()].join(", ");
      throw new PinionError("not-found", `no ${method} ${url.pathname} here; there are ${known}`);
    }
    return handler({
      query: url.searchParams,
      body: method === "GET" ? {} : await bodyOf(request),
    });
  }
}

async function bodyOf(request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
  if (!/^application\/json\b/.test(request.headers["content-type"] ?? ""))
    throw new PinionError(
      "invalid-argument",
      "the body must be JSON: content-type application/json",
    );
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > BODY_BYTES_MAX) {
      throw new PinionError("frame-too-large", `a body may have ${BODY_BYTES_MAX} bytes`, {
        details: { maxBytes: BODY_BYTES_MAX },
      });
    }
    pieces.push(piece);
  }
  const text = Buffer.concat(pieces).toString("utf8").trim();
  if (text === "") return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new PinionError("invalid-argument", `the body is not JSON: ${messageOf(cause)}`, {
      cause,
    });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new PinionError("invalid-argument", "the body must be a JSON object");
  return value as Record<string, unknown>;
}

function send(response: ServerResponse, answer: HttpAnswer): void {
  const { status = 200, contentType = "application/json; charset=utf-8" } = answer;
  const text = answer.text ?? `${JSON.stringify(answer.json)}\n`;
  response.writeHead(status, {
    "content-type": contentType,
    "content-length": Buffer.byteLength(text),
    "cache-control": "no-store",
  });
  response.end(text);
}

const STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  "invalid-argument": 400,
  "invalid-actor-id": 400,
  "config-invalid": 409,
  "permission-denied": 403,
  "not-found": 404,
  "unknown-actor-type": 404,
  "unknown-method": 404,
  "frame-too-large": 413,
  overloaded: 503,
  unavailable: 503,
  draining: 503,
  relocate: 421,
};

/** `{ "error": { "code", "message", "retry", "details" } }` */
export function errorAnswer(thrown: unknown): HttpAnswer {
  const error = isPinionError(thrown)
    ? thrown
    : new PinionError("internal", messageOf(thrown), { cause: thrown });
  const { code, message, retry, details } = error;
  // Where our own code refused something is nobody's business; where a user's module threw, or we have a bug, is.
  const telling = code === "module-failed" || code === "internal";
  const stack = telling ? { stack: error.remoteStack ?? error.stack ?? "" } : {};
  return {
    status: STATUS[code] ?? 500,
    json: { error: { code, message, retry, details, ...stack } },
  };
}

function listenError(error: Error, host: string, port: number): PinionError {
  return systemCode(error) === "EADDRINUSE"
    ? new PinionError("port-in-use", `the admin port ${port} on ${host} is already in use`, {
        details: { host, port },
        cause: error,
      })
    : new PinionError("io-error", `cannot listen on ${host}:${port}: ${messageOf(error)}`, {
        details: { host, port },
        cause: error,
      });
}
