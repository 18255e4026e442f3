/** What `console.log` shows of a view: the value it stands for. */
import { nodeBehind } from "./draft-node.ts";
import { plainOf } from "./plain.ts";

export function inspectView(view: object): unknown {
  const node = nodeBehind(view);
  if (node?.session.closed !== false) return "[state of a turn that is over]";
  return plainOf(view);
}
