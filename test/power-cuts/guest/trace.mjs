// Does a little of everything that the guest does, to be traced.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

await import("./main.ts");
const { Marks, MARK_BYTES } = await import("../marks.ts");
const { runWork } = await import("./work.ts");
const { look } = await import("./look.ts");
const dir = mkdtempSync(join(tmpdir(), "pinion-cuts-trace-"));
const marks = new Marks(new Uint8Array(MARK_BYTES));
await runWork({ dir, seed: 1, operations: 50, marks, markChanged() {}, say() {} });
await look(dir, { subjects: ["host", "store"], goesOn: true });
rmSync(dir, { recursive: true });
