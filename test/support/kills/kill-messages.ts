/** What a client process of the kill test says. */
import type { Op } from "../../simulation/actor-ops.ts";

export type Asked = Pick<Op, "id" | "place" | "to" | "method">;

export type Said =
  | { readonly asked: Asked }
  | { readonly answered: string; readonly ok: true; readonly value: unknown; readonly atMs: number }
  | {
      readonly answered: string;
      readonly ok: false;
      readonly code: string;
      readonly message: string;
      readonly atMs: number;
    }
  | { readonly done: true };
