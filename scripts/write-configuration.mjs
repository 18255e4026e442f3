// Writes the table of host options in docs/configuration.md anew: node --conditions=source scripts/write-configuration.mjs
import { readFileSync, writeFileSync } from "node:fs";
import { optionsTable } from "../packages/core/src/index.ts";
import { HOST_OPTIONS } from "../packages/runtime/src/host/host-options.ts";

const page = new URL("../docs/configuration.md", import.meta.url);
const text = readFileSync(page, "utf8");
const [begin, end] = ["<!-- host options: begin -->", "<!-- host options: end -->"];
const from = text.indexOf(begin);
const to = text.indexOf(end);
if (from < 0 || to < from)
  throw new Error(`docs/configuration.md must hold the lines ${begin} and ${end}`);
writeFileSync(
  page,
  `${text.slice(0, from + begin.length)}\n\n${optionsTable(HOST_OPTIONS)}\n${text.slice(to)}`,
);
