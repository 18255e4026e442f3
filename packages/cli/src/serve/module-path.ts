/** The module a host is started with: a file, named as people name files. */
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, relative, resolve } from "node:path";
import { nearestNames, systemCode } from "@pinion/core";
import { CliError } from "../cli-error.ts";

const IS_MODULE = /\.[cm]?[jt]s$/;

/** @returns its absolute path. @throws `usage` */
export async function modulePath(cwd: string, given: string): Promise<string> {
  const path = resolve(cwd, given);
  try {
    if ((await stat(path)).isFile()) return path;
  } catch (error) {
    if (systemCode(error) !== "ENOENT" && systemCode(error) !== "ENOTDIR") {
      throw new CliError("usage", `cannot read ${path}`, { cause: error });
    }
    const near = await similarFiles(path, cwd);
    const hints = near.length > 0 ? [`did you mean ${near.join(" or ")}?`] : [];
    throw new CliError("usage", `there is no file ${relative(cwd, path)}`, {
      details: { path },
      hints,
    });
  }
  throw new CliError(
    "usage",
    `${relative(cwd, path) || "."} is a directory; name the module that exports the actors`,
    { details: { path } },
  );
}

async function similarFiles(path: string, cwd: string): Promise<string[]> {
  const folder = dirname(path);
  const names = await readdir(folder).catch(() => []);
  const modules = names.filter((name) => IS_MODULE.test(name) && !name.endsWith(".d.ts"));
  // The ending is often what was left out.
  const wanted = basename(path);
  const exact = modules.filter(
    (name) => name.replace(IS_MODULE, "") === wanted.replace(IS_MODULE, ""),
  );
  return [...new Set([...exact, ...nearestNames(wanted, modules)])].map((name) =>
    relative(cwd, resolve(folder, name)),
  );
}
