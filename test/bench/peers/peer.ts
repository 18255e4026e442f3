/** What the comparison needs of a peer: its servers on this machine, and where their clients go. */
export interface RunningPeer {
  readonly origin: string;
  stop(): Promise<void>;
}

export interface Peer {
  readonly name: string;
  /** For the table: what of a change is on disk when the caller has the answer. */
  readonly durability: string;
  readonly client: URL;
  /** @param dir an empty folder on the disk to be measured */
  start(dir: string): Promise<RunningPeer>;
}
