/** A Worker that calls the object's method: `stub.increment()`. */
import { httpClient } from "../http-client.ts";

export const open = (origin: string) =>
  httpClient(origin, { method: "GET", path: (operation, key) => `/${operation}/${key}` });
