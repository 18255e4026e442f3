import { systemClock } from "@pinion/core";
import { expect, test } from "vitest";
import { cliReference } from "./cli-reference.ts";

test("docs/cli.md says what --help says", async () => {
  const nowhere = { write: () => true };
  const reference = cliReference({
    stdout: nowhere,
    stderr: nowhere,
    env: {},
    cwd: "/",
    clock: systemClock,
    onStopSignal: () => () => {},
    exitNow: () => {},
  });
  await expect(reference).toMatchFileSnapshot("../../../docs/cli.md");
});
