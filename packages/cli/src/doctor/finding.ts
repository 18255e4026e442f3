/** One thing `pinion doctor` looked at. */

export type Level = "ok" | "warn" | "fail";

export interface Finding {
  /** Stable name, for programs. */
  readonly check: string;
  readonly level: Level;
  /** What was found, for people. */
  readonly found: string;
  /** What it means; with `warn` and `fail`. */
  readonly why?: string;
  /** The command, or the sentence, that puts it right. */
  readonly fix?: string;
  /** Measured figures, units last in their names. */
  readonly figures?: Readonly<Record<string, number>>;
}

export const ok = (check: string, found: string, figures?: Finding["figures"]): Finding => ({
  check,
  level: "ok",
  found,
  ...(figures !== undefined && { figures }),
});

const bad =
  (level: "warn" | "fail") =>
  (
    check: string,
    found: string,
    why: string,
    fix?: string,
    figures?: Finding["figures"],
  ): Finding => ({
    check,
    level,
    found,
    why,
    ...(fix !== undefined && { fix }),
    ...(figures !== undefined && { figures }),
  });

export const warn = bad("warn");
export const fail = bad("fail");
