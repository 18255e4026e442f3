/**
 * The port through which a host knows the cluster's members. The embedded implementation has one member, this host;
 * the one on etcd comes behind the same port and conformance suite.
 *
 * I1 a view never changes; a newer one has a larger `revision`.
 * I2 listeners run after `view()` has changed, in the order of subscription, once per view.
 * I3 an incarnation is durable before anybody can see it, so no two lives of a host share one.
 */

/** A worker of a member, and where it is reached. */
export interface MemberWorker {
  /** Index on its host, from 0. */
  readonly worker: number;
  /** "name:port" of its gateway; empty while it is not up. */
  readonly address: string;
}

export interface Member {
  /** Random, made when the host's data directory was. */
  readonly hostId: string;
  /** A host's restart number, from 1. */
  readonly incarnation: number;
  readonly workers: readonly MemberWorker[];
}

export interface MembershipView {
  readonly revision: number;
  /** Random, made with the cluster. */
  readonly clusterId: string;
  /** In order of host id. */
  readonly members: readonly Member[];
}

export interface Membership {
  /** This host, as in `view()`. */
  readonly self: Member;
  view(): MembershipView;
  /** @returns stops the subscription */
  subscribe(listener: (view: MembershipView) => void): () => void;
  /** Says where this host's workers are reached; replaces what was said before. */
  announce(workers: readonly MemberWorker[]): Promise<void>;
  /** Leaves: others stop sending here at once instead of after a lease. No listener runs afterwards. */
  close(): Promise<void>;
}
