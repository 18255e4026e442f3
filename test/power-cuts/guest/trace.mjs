// Does a little of everything that the guest does, to be traced.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

await import("./main.ts");
const { Marks, MARK_BYTES } = await import("../marks.ts");
const { SUBJECTS } = await import("../subject-names.ts");
const { live } = await import("./work.ts");
const { look } = await import("./look.ts");
const dir = mkdtempSync(join(tmpdir(), "pinion-cuts-trace-"));
const marks = new Marks(new Uint8Array(MARK_BYTES));
for (const subject of SUBJECTS) {
  const life = { subject, end: "stop", seed: 1, operations: 50 };
  await live(life, { dir: join(dir, subject), marks, markChanged() {}, say() {} });
}
await look(dir, { subjects: SUBJECTS, goesOn: true });
rmSync(dir, { recursive: true });
