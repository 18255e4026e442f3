/**
 * The identity of a call: what makes a retry the same call (P12, P13). A root call is (session, sequence); calls and sends made by
 * its turns add an ordinal each: "0.2" is the third call made by the turn of the root's first call.
 */

export interface CallKey {
  readonly session: string;
  readonly seq: number;
  /** Ordinals joined by ".", "" for a root call. */
  readonly path: string;
}

export function callKeyText(key: CallKey): string {
  return key.path === "" ? `${key.session}/${key.seq}` : `${key.session}/${key.seq}/${key.path}`;
}

/** User code that runs without a call: an actor's hook, migrate steps ("load") or effect. */
export const hookKeyText = (actor: string, hook: string): string => `@hook/${hook}/${actor}`;

export function childPath(path: string, ordinal: number): string {
  return path === "" ? `${ordinal}` : `${path}.${ordinal}`;
}

/** Whether `inner` was made, directly or through others, by the turn of `outer`. */
export function isDescendant(inner: CallKey, outer: CallKey): boolean {
  if (inner.session !== outer.session || inner.seq !== outer.seq || inner.path === outer.path)
    return false;
  return outer.path === "" || inner.path.startsWith(`${outer.path}.`);
}

/** Sessions that are not a client's: their ids start with "@", which no client id does. */
export const REMINDER_SESSION = "@reminder";
