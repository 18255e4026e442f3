/** The actor definitions a module exports. */
import { isAbsolute, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { messageOf, PinionError } from "@pinion/core";
import { isActorDefinition, type ActorDefinition } from "../definition/define-actor.ts";

/** @param module URL, or a path (relative to the working directory) @returns its URL */
export function moduleUrl(module: URL | string): URL {
  if (module instanceof URL) return module;
  if (/^(?:file|data):/.test(module)) return new URL(module);
  return pathToFileURL(isAbsolute(module) ? module : resolve(module));
}

/** For messages. */
export function moduleName(url: string): string {
  return url.startsWith("file:") ? fileURLToPath(url) : url.slice(0, 80);
}

/**
 * Imports the module in this thread. A thread imports a file once: a changed one needs a new thread.
 * @throws `module-failed` with what the module threw as cause and its stack as `remoteStack`; or when it exports no actors
 */
export async function loadDefinitions(url: string): Promise<readonly ActorDefinition[]> {
  let exported: Record<string, unknown>;
  try {
    exported = (await import(url)) as Record<string, unknown>;
  } catch (error) {
    const stack = error instanceof Error ? error.stack : undefined;
    throw new PinionError(
      "module-failed",
      `the actor module ${moduleName(url)} cannot be loaded: ${messageOf(error)}`,
      {
        cause: error,
        details: { module: moduleName(url) },
        ...(stack === undefined ? {} : { remoteStack: stack }),
      },
    );
  }
  // A definition may be exported under several names, or once more in a list.
  const found = new Set<ActorDefinition>();
  for (const value of Object.values(exported)) {
    for (const item of Array.isArray(value) ? (value as unknown[]) : [value])
      if (isActorDefinition(item)) found.add(item);
  }
  if (found.size > 0) return [...found];
  const names = Object.keys(exported).join(", ") || "nothing";
  throw new PinionError(
    "module-failed",
    `the actor module ${moduleName(url)} exports no actor: it exports ${names}; export what defineActor returns`,
    { details: { module: moduleName(url) } },
  );
}
