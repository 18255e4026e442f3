/** The build of the native part: quiet, safe to run at once, and never the reason an installation fails. */
import { execFile } from "node:child_process";
import { appendFile, cp, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { buildAddon } from "../support/build-addon.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const hasCompiler = buildAddon();

describe("native/build.mjs", () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "pinion-native-"));
    await cp(join(ROOT, "packages/storage/native"), dir, {
      recursive: true,
      filter: (path) => !path.endsWith("build"),
    });
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  /** What it prints; a failing exit code throws. */
  const build = async (env: NodeJS.ProcessEnv = process.env): Promise<string> => {
    // From the root of the repository, where it finds the headers of the installed Node.
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath,
      [join(dir, "build.mjs")],
      { cwd: ROOT, env },
    );
    return stdout + stderr;
  };
  const built = async (): Promise<string[]> =>
    (await readdir(join(dir, "build")).catch((): string[] => [])).toSorted();

  it("says in one line that the fallback will be used when there is no compiler, and succeeds", async () => {
    const said = await build({ PATH: "/nonexistent" });
    expect(said).toMatch(/^pinion: no C compiler .* portable fallback will be used .*\n$/);
    expect(await built()).toEqual([]);
  });

  it("says so too when the source does not compile", async () => {
    await appendFile(join(dir, "pinion.c"), "int broken = ;\n");
    expect(await build()).toMatch(/^pinion: .* portable fallback will be used .*\n$/);
    expect(await built()).toEqual([]);
  });

  it.skipIf(!hasCompiler)(
    "builds once, in silence, however many run at the same time",
    async () => {
      expect(await Promise.all([build(), build(), build()])).toEqual(["", "", ""]);
      const [name, ...others] = await built();
      expect(name).toMatch(
        new RegExp(`^pinion-[0-9a-f]{16}-${process.platform}-${process.arch}\\.node$`),
      );
      expect(others).toEqual([]);
      expect(await build({ PATH: "/nonexistent" })).toBe("");
    },
  );

  it.skipIf(!hasCompiler)(
    "builds anew when any source has changed, and removes the old one",
    async () => {
      await build();
      const before = await built();
      await appendFile(join(dir, "crc32c.h"), "/* changed */\n");
      await build();
      const after = await built();
      expect(after).toHaveLength(1);
      expect(after).not.toEqual(before);
    },
  );
});
