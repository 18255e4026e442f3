/**
 * What the links tell about the cluster, and what follows from it for the calls: where they go now, and which of them have
 * to be sent again.
 */
import { messageOf, PinionError, type Relocation, type Welcome } from "@pinion/core";
import type { CallDesk } from "./call-desk.ts";
import { detailsOf } from "./call-error.ts";
import type { ClientSession } from "./client-session.ts";
import type { ClientEvent } from "./events.ts";
import { careOf, type PendingCall } from "./pending-call.ts";
import type { Router } from "./router.ts";
import type { LinkEvents, WorkerLink } from "./worker-link.ts";

export class ClusterWatch implements LinkEvents {
  /** Called after a host answered, or a connection failed. */
  onNews: (() => void) | undefined;
  readonly #desk: CallDesk;
  readonly #router: Router;
  readonly #session: ClientSession;
  readonly #onEvent: (event: ClientEvent) => void;

  constructor(
    desk: CallDesk,
    router: Router,
    session: ClientSession,
    onEvent: (event: ClientEvent) => void,
  ) {
    this.#desk = desk;
    this.#router = router;
    this.#session = session;
    this.#onEvent = onEvent;
  }

  onWelcome(link: WorkerLink, welcome: Welcome): void {
    const was = this.#router.clusterId;
    if (was !== "" && was !== welcome.clusterId) {
      this.#onClusterChanged(link, was, welcome.clusterId);
    }
    this.#desk.limitHorizon(welcome.limits.sessionExpiryMs);
    if (this.#router.adopt(welcome, link.address)) this.#reroute();
    this.#tell({
      kind: "connected",
      address: link.address,
      host: welcome.host,
      incarnation: welcome.incarnation,
    });
    this.#desk.watchProcess();
    this.onNews?.();
  }

  /** Another cluster knows nothing of what we sent to the first: sending it again could run it twice. */
  #onClusterChanged(link: WorkerLink, was: string, is: string): void {
    this.#tell({ kind: "cluster-changed", address: link.address, was, is });
    for (const call of this.#session.calls.all()) {
      if (call.attempts === 0) continue;
      const what = `${call.name}: ${link.address} now answers for another cluster`;
      this.#desk.abandon(
        call,
        new PinionError("outcome-unknown", what, { details: detailsOf(call) }),
      );
    }
  }

  onRelocations(relocations: readonly Relocation[]): void {
    for (const relocation of relocations) this.#router.relocate(relocation);
    this.#reroute();
  }

  onDraining(link: WorkerLink, reason: string): void {
    this.#tell({ kind: "draining", address: link.address, reason });
    this.#seekAlternative(link);
    this.#desk.watchProcess();
  }

  onLost(
    link: WorkerLink,
    error: PinionError,
    carried: readonly PendingCall[],
    retryInMs: number,
  ): void {
    const desk = this.#desk;
    desk.counters.disconnects++;
    for (const call of carried) {
      careOf(call).uncertain = true;
      desk.counters.retries++;
      desk.startHorizon(call, error);
    }
    // Calls that were never sent wait with the same patience.
    for (const call of link.waitingCalls) desk.startHorizon(call, error);
    this.#tell({ kind: "disconnected", address: link.address, error, retryInMs });
    this.#seekAlternative(link);
    this.#desk.watchProcess();
    this.onNews?.();
  }

  /** An observer is the user's: what it throws is not ours to suffer from. */
  #tell(event: ClientEvent): void {
    try {
      this.#onEvent(event);
    } catch (e) {
      process.emitWarning(`the client's onEvent threw: ${messageOf(e)}`);
    }
  }

  /** While a worker is away, another host may know where its shards went. */
  #seekAlternative(link: WorkerLink): void {
    const address = this.#router.alternativeTo(link.address);
    if (address !== undefined) this.#router.linkTo(address).wake();
  }

  /** Calls that wait for a worker which no longer serves their shard move on. */
  #reroute(): void {
    for (const link of this.#router.links) {
      if (link.waitingCount === 0 || link.state === "ready") continue;
      for (const call of link.takeWaiting()) this.#router.linkFor(call.target).park(call);
    }
  }
}
