/** What the process ends with. Scripts may rely on these. */
export const ExitCode = Object.freeze({
  ok: 0,
  /** The call failed, the host refused, a check found a failure, or something went wrong here. */
  failed: 1,
  /** The command line is wrong. */
  usage: 2,
  /** No host is running where we looked. */
  noHost: 3,
});

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];
