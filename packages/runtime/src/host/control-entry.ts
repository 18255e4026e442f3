/** The control thread of a host whose actors are values (control-thread.ts). */
import { parentPort } from "node:worker_threads";
import { assert, PinionError, systemClock } from "@pinion/core";
import { createLogger } from "../observability/index.ts";
import { ControlPlane } from "./control-plane.ts";
import type { ActorThreadRequests, ControlRequests } from "./control-thread.ts";
import { RpcPeer, type RpcHandlers } from "./message-rpc.ts";

/** Beyond the grace period, for the last checkpoint. */
const STOP_EXTRA_MS = 30_000;

let plane: ControlPlane | undefined;

function started(): ControlPlane {
  if (plane === undefined)
    throw new PinionError("unavailable", "the control plane has not started");
  return plane;
}

const handlers: RpcHandlers<ControlRequests> = {
  start: async (spec) => {
    const { facts, degraded, admin, board, logLevel, logFormat } = spec;
    const logger = createLogger({
      level: logLevel,
      format: logFormat,
      thread: "control",
      clock: systemClock,
    });
    const fresh = new ControlPlane({
      facts,
      degraded,
      admin,
      links: [peer],
      actions: {
        // The answer must leave before the host stops: nobody waits for the end here.
        stop: async (graceMs) => {
          void peer
            .request("stop", { graceMs }, graceMs + STOP_EXTRA_MS)
            .catch((error: unknown) => logger.error("the host does not stop", error));
        },
        reload: async () => void (await peer.request("reload", null, STOP_EXTRA_MS)),
        onBlocked: () => {},
      },
      logger,
    });
    fresh.watch(0, board);
    const adminEndpoint = await fresh.start();
    plane = fresh;
    return { adminEndpoint };
  },
  update: ({ condition, endpoints }) => {
    started().setEndpoints(endpoints);
    started().setCondition(0, condition);
    return null;
  },
  close: async () => {
    await plane?.close();
    return null;
  },
};

assert(parentPort !== null, "this file runs in a worker thread");
const peer = new RpcPeer<ActorThreadRequests, ControlRequests>(
  parentPort,
  "the thread that runs the actors",
  systemClock,
  handlers,
);
