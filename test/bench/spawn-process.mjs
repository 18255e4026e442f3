/**
 * Of `mem/spawn`: how long `spawn` holds the loop of a process with nothing in it but so many bytes pinned in an arena; the times as JSON, ms. Plain
 * JavaScript and the built package: a process that has loaded a compiler is larger, and its fork takes twice as long.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { Arena, memoryDoor } from "@pinion/storage";

const SPAWNS = 20;
const BLOCK_BYTES = 256 * 1024 * 1024;

const pinnedBytes = Number(process.argv[2]);
const arena = pinnedBytes > 0 ? new Arena(memoryDoor()) : undefined;
for (let bytes = 0; arena !== undefined && bytes < pinnedBytes; bytes += BLOCK_BYTES) {
  const block = arena.allocate(BLOCK_BYTES);
  if (block === undefined) throw new Error("no address space");
  await block.commit(BLOCK_BYTES, { hugePages: true });
  const denial = await block.lock();
  if (denial !== undefined) throw new Error(`not locked: ${denial}`);
}
const times = [];
for (let i = 0; i < SPAWNS; i++) {
  const startMs = performance.now();
  const child = spawn("/bin/true", { stdio: "ignore" });
  times.push(performance.now() - startMs);
  await once(child, "exit");
}
console.log(JSON.stringify(times));
arena?.close();
