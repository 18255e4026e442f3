/**
 * Which worker serves which actor: the shard map as last heard, the links to its workers, and the seeds to ask when the map
 * leads nowhere.
 *
 * I1 a map replaces another only with a larger version, or when it comes from another life of the cluster.
 * I2 there is one link per address.
 */
import {
  nearestNames,
  type ActorTypeMessage,
  type PinionError,
  type Relocation,
  type ShardMapMessage,
  type Welcome,
} from "@pinion/core";
import type { CallTarget } from "./call-target.ts";
import type { WorkerLink } from "./worker-link.ts";

export class Router {
  readonly #seeds: readonly string[];
  readonly #makeLink: (address: string) => WorkerLink;
  readonly #links = new Map<string, WorkerLink>();
  #map: ShardMapMessage | undefined;
  /** Address per shard, or of all of them when there is only one. */
  #addresses: readonly string[] = [];
  #only: WorkerLink | undefined;
  #types: readonly ActorTypeMessage[] = [];
  #clusterId = "";

  constructor(seeds: readonly string[], makeLink: (address: string) => WorkerLink) {
    this.#seeds = seeds;
    this.#makeLink = makeLink;
  }

  get seeds(): readonly string[] {
    return this.#seeds;
  }

  get links(): Iterable<WorkerLink> {
    return this.#links.values();
  }

  get types(): readonly ActorTypeMessage[] {
    return this.#types;
  }

  get clusterId(): string {
    return this.#clusterId;
  }

  get shardCount(): number {
    return this.#map?.shardCount ?? 0;
  }

  linkTo(address: string): WorkerLink {
    let link = this.#links.get(address);
    if (link === undefined) {
      link = this.#makeLink(address);
      this.#links.set(address, link);
    }
    return link;
  }

  /** The link to the worker that serves the actor, as far as we know. */
  linkFor(target: CallTarget): WorkerLink {
    if (this.#only !== undefined) return this.#only;
    const shard = Math.floor((target.hash * this.#addresses.length) / 2 ** 32);
    return this.linkTo(this.#addresses[shard] ?? (this.#seeds[0] as string));
  }

  /** Takes what a host said about the cluster. True when calls may have to go elsewhere now. */
  adopt(welcome: Welcome, from: string): boolean {
    const known = this.#map;
    const map = welcome.shardMap;
    this.#types = welcome.actorTypes;
    const sameLife = welcome.clusterId === this.#clusterId;
    this.#clusterId = welcome.clusterId;
    if (known !== undefined && sameLife && map.version < known.version) return false; // I1
    this.#map = map;
    const addressOf = (worker: number): string => {
      const address = map.workers[worker]?.address ?? "";
      return address === "" ? from : address;
    };
    if (map.owners.length === 0) this.#addresses = [addressOf(0)];
    else this.#addresses = map.owners.map(addressOf);
    this.#settleOnly();
    return true;
  }

  /** One shard is elsewhere now. */
  relocate(relocation: Relocation): void {
    const { shard, to } = relocation;
    const count = this.shardCount;
    if (to.address === "" || shard >= count) return;
    const addresses =
      this.#addresses.length === count
        ? [...this.#addresses]
        : Array.from({ length: count }, () => this.#addresses[0] as string);
    addresses[shard] = to.address;
    this.#addresses = addresses;
    this.#settleOnly();
  }

  /** What a `relocate` error says about it, if anything. */
  relocateBy(error: PinionError): void {
    const { address, shard, term } = error.details;
    if (typeof address !== "string" || typeof shard !== "number") return;
    this.relocate({
      shard,
      term: typeof term === "number" ? term : 0,
      to: { host: "", worker: 0, address },
    });
  }

  #settleOnly(): void {
    const [first] = this.#addresses;
    this.#only =
      first !== undefined && this.#addresses.every((address) => address === first)
        ? this.linkTo(first)
        : undefined;
  }

  /** Another address to ask when `address` does not answer: seeds and workers in turn. */
  alternativeTo(address: string): string | undefined {
    const all = [...new Set([...this.#seeds, ...this.#addresses])];
    if (all.length < 2) return undefined;
    return all[(all.indexOf(address) + 1) % all.length];
  }

  isReadonly(type: string, method: string): boolean {
    return (
      this.#types.find((t) => t.name === type)?.methods.find((m) => m.name === method)?.readonly ===
      true
    );
  }

  /** Names close to one the host does not know. */
  nearest(type: string, method: string): readonly string[] {
    const known = this.#types.find((t) => t.name === type);
    return known === undefined
      ? nearestNames(
          type,
          this.#types.map((t) => t.name),
        )
      : nearestNames(
          method,
          known.methods.map((m) => m.name),
        );
  }
}
