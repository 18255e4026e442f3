/** Peers are called over HTTP/1.1: one keep-alive connection for each call in flight. */
import type { LoadClient } from "../call/load.ts";
import { requirePeer } from "./install.ts";

interface Undici {
  readonly Pool: new (
    origin: string,
    options: { connections: number; pipelining: number },
  ) => {
    request(options: {
      method: string;
      path: string;
    }): Promise<{ statusCode: number; body: { text(): Promise<string> } }>;
    destroy(): Promise<void>;
  };
}

const CONNECTIONS = 64;

export interface HttpRoute {
  readonly method: "GET" | "POST";
  path(operation: "increment" | "value", key: string): string;
}

export function httpClient(origin: string, route: HttpRoute): LoadClient {
  const { Pool } = requirePeer("undici") as Undici;
  const pool = new Pool(origin, { connections: CONNECTIONS, pipelining: 1 });
  const call = async (operation: "increment" | "value", key: string): Promise<number> => {
    const path = route.path(operation, key);
    const { statusCode, body } = await pool.request({ method: route.method, path });
    const text = await body.text();
    if (statusCode !== 200) throw new Error(`${path}: ${statusCode} ${text.slice(0, 300)}`);
    return Number(text);
  };
  return {
    increment: (key) => call("increment", key),
    value: (key) => call("value", key),
    close: () => pool.destroy(),
  };
}
