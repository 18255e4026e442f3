/** A virtual object's handlers through the ingress. */
import { httpClient } from "../http-client.ts";

export const open = (origin: string) =>
  httpClient(origin, { method: "POST", path: (operation, key) => `/counter/${key}/${operation}` });
