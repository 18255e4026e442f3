/** What a host says about itself when it has started. */
import type { ActorTypeMessage } from "@pinion/core";
import { pathText } from "../output/path-text.ts";
import type { Paint } from "../output/style.ts";
import { fieldList } from "../output/text-table.ts";

export interface HostFacts {
  readonly pid: number;
  readonly endpoint: string;
  readonly adminEndpoint: string;
  /** Absolute. */
  readonly dataDir: string;
  readonly module: string;
  readonly actors: readonly ActorTypeMessage[];
  readonly degraded: readonly { readonly what: string; readonly why: string }[];
}

export function banner(facts: HostFacts, paint: Paint, cwd: string): string {
  const { endpoint, adminEndpoint, degraded } = facts;
  const fields: [string, string][] = [
    ["gateway", paint("bold", endpoint)],
    ["admin", `${adminEndpoint}  (/health, /ready, /metrics)`],
    ["data", pathText(facts.dataDir, cwd)],
    ["actors", actorLines(facts.actors, paint)],
  ];
  if (degraded.length > 0) {
    const lines = degraded.map(({ what, why }) => `${what}: ${why}`).join("\n");
    fields.push([
      "degraded",
      `${paint("yellow", lines)}\n${paint("dim", "pinion doctor says what would help")}`,
    ]);
  }
  return fieldList(fields, paint);
}

/** One line a type: its name and its methods; those that only read are marked. */
function actorLines(actors: readonly ActorTypeMessage[], paint: Paint): string {
  const width = Math.max(0, ...actors.map(({ name }) => name.length));
  return actors
    .map(({ name, methods }) => {
      const list = methods.map((m) => (m.readonly ? paint("dim", `${m.name}`) : m.name)).join(", ");
      return `${paint("bold", name)}${" ".repeat(width - name.length)}  ${list}`;
    })
    .join("\n");
}
