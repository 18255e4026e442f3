/** Thin path. */
import { Client, resolveClientOptions } from "@pinion/client";
import { noTelemetry, randomSeed, systemClock } from "@pinion/core";
import { openEmbeddedCluster } from "@pinion/placement";
import { RealDisk } from "@pinion/storage";
import { seededRng } from "@pinion/core";
import type { ActorDefinition } from "../definition/define-actor.ts";
import { LOOPBACK_ADDRESS, LoopbackConnector } from "../gateway/index.ts";
import { createLogger } from "../observability/index.ts";
import { WORKER_DEFAULTS } from "../worker/worker-options.ts";
import { DataDirectory } from "./data-directory.ts";
import { openWorker } from "./open-worker.ts";
import { createTurnBoard, TurnBoardWriter } from "./turn-board.ts";

export async function startThinHost(definitions: readonly ActorDefinition[], dataDir: string) {
  const directory = await DataDirectory.open(dataDir, new RealDisk());
  const cluster = await openEmbeddedCluster(directory.cluster, {
    shardCount: 16,
    workers: 1,
    rng: seededRng(randomSeed()),
  });
  const self = cluster.membership.self;
  const board = createTurnBoard();
  const opened = await openWorker(
    {
      identity: {
        clusterId: cluster.membership.view().clusterId,
        host: self.hostId,
        incarnation: self.incarnation,
        worker: 0,
        hostVersion: "0",
      },
      shardMap: { shardCount: 16, workers: [], owners: [], terms: [], version: 1 },
      dir: directory.worker(0).dir,
      log: { flush: "group", segmentBytes: 64 << 20, stagingBytes: 8 << 20, archiveDir: undefined },
      gateway: {
        host: "127.0.0.1",
        port: 0,
        insecurePlaintext: false,
        maxInFlight: 65_536,
        maxFrameBytes: 4 << 20,
      },
      options: WORKER_DEFAULTS,
      logLevel: "info",
      logFormat: "text",
      board,
      seed: randomSeed(),
    },
    {
      definitions,
      telemetry: noTelemetry,
      monitor: new TurnBoardWriter(board),
      logger: createLogger({ level: "info", format: "text", thread: "w0", clock: systemClock }),
    },
  );
  const client = await Client.open(
    [LOOPBACK_ADDRESS],
    resolveClientOptions({}),
    (session) =>
      new LoopbackConnector(
        { dispatcher: opened.dispatcher, identity: opened.identity, clock: systemClock },
        session,
      ),
  );
  return {
    client,
    endpoint: opened.gateway.address,
    opened,
    stop: async () => {
      await client.close();
      await opened.stop(1000);
      await directory.close();
    },
  };
}
