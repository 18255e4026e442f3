/**
 * `onActivate` and `onDeactivate`: turns without a call. What they change is committed like any turn's; if they throw, nothing is.
 */
import { NO_LSN, PinionError } from "@pinion/core";
import { RecordKind } from "@pinion/storage";
import { NO_OUTBOX, NO_REMINDERS, writeCommit } from "../records/runtime-records.ts";
import type { Activation } from "./activation.ts";
import { TurnContext } from "./turn-context.ts";
import { endTurn } from "./turn-runner.ts";
import { Turn } from "./turn.ts";

/** Runs `hook`, bounded by `maxTurnMs`. Rejects with what it threw, or `turn-timeout`. */
export async function runHook(
  activation: Activation,
  name: "onActivate" | "onDeactivate",
  hook: (ctx: TurnContext) => unknown,
): Promise<void> {
  const { services } = activation;
  const turn = new Turn(activation, "hook", undefined, undefined, services.clock.nowMs());
  activation.running++;
  activation.hook = turn;
  const { promise: timeUp, reject } = Promise.withResolvers<never>();
  const timer = services.clock.setTimer(activation.type.maxTurnMs, () => {
    const error = new PinionError(
      "turn-timeout",
      `a hook of ${activation.actor} took longer than ${activation.type.maxTurnMs} ms`,
    );
    turn.abort(error);
    reject(error);
  });
  try {
    await Promise.race([enterHook(activation, name, () => hook(new TurnContext(turn))), timeUp]);
    await commitHook(turn);
  } finally {
    timer.cancel();
    activation.hook = undefined;
    endTurn(turn, true);
    activation.turnEnded(turn);
  }
}

/**
 * Runs user code that no call names, named to the monitor.
 * @throws `poisoned` where it has blocked the worker twice
 */
export function enterHook<T>(activation: Activation, name: string, code: () => T): T {
  const { services, actor } = activation;
  if (services.isPoisonedHook(actor, name)) {
    throw new PinionError(
      "poisoned",
      `${name} of ${actor} has blocked the worker twice and is not run again`,
      { details: { actor, method: name } },
    );
  }
  services.monitor.enter(actor, name, undefined);
  try {
    return code();
  } finally {
    services.monitor.leave();
  }
}

async function commitHook(turn: Turn): Promise<void> {
  const { activation } = turn;
  const finished = turn.draft?.finish({ whole: !activation.stored });
  const delta = finished?.delta;
  const extents = turn.extents?.finish();
  // What code of the hook that was not awaited would still change is not in the record.
  turn.draft?.revoke();
  turn.extents?.seal();
  if (delta === undefined && extents === undefined) return;
  const { shard } = activation;
  const payload = shard.encodeCopy((w) =>
    writeCommit(w, {
      actor: activation.actor,
      call: undefined,
      digest: 0,
      ackedBelow: 0,
      idempotency: undefined,
      stateVersion: activation.type.stateVersion,
      delta,
      whole: finished?.whole ?? false,
      ok: true,
      outcome: undefined,
      closes: NO_LSN,
      outbox: NO_OUTBOX,
      reminders: NO_REMINDERS,
      extents: extents?.delta,
      partial: false,
    }),
  );
  await shard.append(RecordKind.commit, payload, (at) => {
    activation.lastLsn = at;
    if (finished?.delta !== undefined) {
      activation.base = finished.base;
      activation.stored = true;
    }
    extents?.publish();
    shard.changed(activation);
  });
}
