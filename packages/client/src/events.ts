/** What a long-lived client reports besides the results of its calls. */
import type { PinionError } from "@pinion/core";

export type ClientEvent =
  | {
      readonly kind: "connected";
      readonly address: string;
      readonly host: string;
      readonly incarnation: number;
    }
  | {
      readonly kind: "disconnected";
      readonly address: string;
      readonly error: PinionError;
      readonly retryInMs: number;
    }
  | { readonly kind: "draining"; readonly address: string; readonly reason: string }
  /** The address now answers for another cluster: outcomes of calls in flight cannot be learnt any more. */
  | {
      readonly kind: "cluster-changed";
      readonly address: string;
      readonly was: string;
      readonly is: string;
    };
