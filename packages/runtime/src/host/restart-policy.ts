/**
 * When a failed worker is started again. Pure: failures in, decisions out.
 *
 * Delays double from `DELAY_MS_MIN` to `DELAY_MS_MAX` and begin anew once a worker has run for `STABLE_MS`: so a worker that
 * cannot run costs two starts a minute, and one that failed for once is back at once. An error that would only repeat itself
 * (`retry: never` while opening: a damaged log, a newer format) is not tried again.
 */
import { isPinionError, type PinionError } from "@pinion/core";

export const DELAY_MS_MIN = 100;
export const DELAY_MS_MAX = 30_000;
export const STABLE_MS = 60_000;

export type RestartDecision =
  | { readonly restart: true; readonly delayMs: number }
  | { readonly restart: false };

export class RestartPolicy {
  #failures = 0;

  /** @param ranMs how long the worker had served; 0 when it did not get that far. */
  afterFailure(error: unknown, ranMs: number): RestartDecision {
    if (ranMs === 0 && isPinionError(error) && error.retry === "never" && !mayPass(error))
      return { restart: false };
    if (ranMs >= STABLE_MS) this.#failures = 0;
    const delayMs = Math.min(DELAY_MS_MAX, DELAY_MS_MIN * 2 ** this.#failures);
    this.#failures++;
    return { restart: true, delayMs };
  }
}

/** The port may be let go, and a disk may come back, without anybody changing what we ask for. */
const mayPass = ({ code }: PinionError): boolean => code === "port-in-use" || code === "io-error";
