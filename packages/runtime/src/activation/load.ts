/**
 * Bringing an actor into memory: its record, the migrate steps it has missed, `onActivate`. Off the turn path; the calls that
 * caused it wait in the mailbox and are refused with the error if it fails.
 */
import { NO_LSN, PinionError } from "@pinion/core";
import { freezeState, plainState, type StateVersion } from "../state-value/index.ts";
import type { Activation } from "./activation.ts";
import { enterHook, runHook } from "./hook-turn.ts";
import type { LoadedRecord } from "./services.ts";

export async function loadActivation(activation: Activation): Promise<void> {
  const { type, services } = activation;
  try {
    const record = await services.loadRecord(activation);
    activation.lastLsn = record?.lsn ?? NO_LSN;
    await services.loadExtents(activation, record?.storedLsn ?? NO_LSN);
    if (activation.hasEnded) return;
    enterHook(activation, "load", () => setUp(activation, record));
    if (type.options.onActivate !== undefined) {
      await runHook(activation, "onActivate", (ctx) => type.options.onActivate?.(ctx as never));
    }
  } catch (error) {
    if (!activation.hasEnded) activation.loadFailed(error);
    return;
  }
  if (activation.hasEnded) return;
  // What the log had later waits for a checkpoint like any change. Not before: a checkpoint of what failed to load would write less than there is.
  if (activation.extents?.isClean === false) {
    activation.shard.changed(activation);
    // Somebody may have waited for one that could not have it yet.
    services.unwritten.wantCheckpoint();
  }
  activation.activated();
}

/**
 * An activation that was ending goes on with the state it has: `onActivate` runs as after loading. False when that failed:
 * what waited was refused.
 */
export async function resumeActivation(activation: Activation): Promise<boolean> {
  const { options } = activation.type;
  activation.state = "loading";
  try {
    enterHook(activation, "load", () => (activation.vars = options.vars?.()));
    if (options.onActivate !== undefined) {
      await runHook(activation, "onActivate", (ctx) => options.onActivate?.(ctx as never));
    }
  } catch (error) {
    activation.refuseWaiting(error);
    return false;
  }
  activation.activated();
  return true;
}

/** What the definition's own code makes of the record: synchronous, and it may throw. */
function setUp(activation: Activation, record: LoadedRecord | undefined): void {
  const { type } = activation;
  if (record?.state !== undefined) {
    activation.base = migrate(activation, record, record.state);
    activation.stored = record.stateVersion === type.stateVersion;
    if (!activation.stored)
      activation.unmigrated = { state: record.state, stateVersion: record.stateVersion };
  } else {
    activation.base = freezeState(type.options.state());
  }
  activation.vars = type.options.vars?.();
}

/** A migrated state is stored with the next commit; until then each activation migrates again. */
function migrate(activation: Activation, record: LoadedRecord, stored: StateVersion): StateVersion {
  const { type, actor } = activation;
  if (record.stateVersion === type.stateVersion) return stored;
  const details = { actor, stored: record.stateVersion, defined: type.stateVersion };
  if (record.stateVersion > type.stateVersion) {
    throw new PinionError(
      "migration-failed",
      `the state of ${actor} is of version ${record.stateVersion}, newer than this definition's ${type.stateVersion}; run the newer code, or give it a step back`,
      { details },
    );
  }
  let value: unknown = plainState(stored);
  for (let version = record.stateVersion; version < type.stateVersion; version++) {
    try {
      value = type.options.migrate?.[version - 1]?.(value);
    } catch (cause) {
      throw new PinionError(
        "migration-failed",
        `migrate step ${version} → ${version + 1} of actor type "${type.name}" threw for ${actor}; its state is unchanged`,
        { details, cause },
      );
    }
  }
  return freezeState(value);
}
