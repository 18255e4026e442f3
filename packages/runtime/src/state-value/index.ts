/** The only door to this folder: state values as versions, drafts, views and deltas. */
export { StateDraft, StateView, type FinishedState } from "./state-draft.ts";
export { StateVersion, decodeState, freezeState, plainState } from "./state-version.ts";
export { applyDelta } from "./patch-apply.ts";
export { plainOf } from "./plain.ts";
export { STATE_BYTES_MAX } from "./limits.ts";
