/** Errors of a disk in the project's words: real ones from Node, and the same ones made up by the simulation. */
import { constants } from "node:os";
import { fromSystemError, PinionError, systemCode } from "@pinion/core";

export type SimErrno = "EIO" | "ENOSPC" | "EROFS" | "ENOENT" | "EEXIST" | "EBADF";

const TEXT: Record<SimErrno, string> = {
  EIO: "i/o error",
  ENOSPC: "no space left on device",
  EROFS: "read-only file system",
  ENOENT: "no such file or directory",
  EEXIST: "file already exists",
  EBADF: "bad file descriptor",
};

/** An error as Node's `fs` would throw it. */
export function systemError(code: SimErrno, syscall: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${TEXT[code]}, ${syscall} '${path}'`), {
    code,
    errno: -constants.errno[code],
    syscall,
    path,
  });
}

/** @param doing starts the message: "write", "sync" … */
export function diskError(e: unknown, doing: string, path: string): PinionError {
  if (systemCode(e) === "ENOENT") {
    return new PinionError("not-found", `${doing} ${path}: no such file or directory`, {
      details: { path },
      cause: e,
    });
  }
  return fromSystemError(e, `${doing} ${path}`, { path });
}
