import { mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { readVectored } from "./read-vectored.ts";

test("buffers are filled one after the other, as far as the file goes", async () => {
  const dir = mkdtempSync(join(tmpdir(), "read-vectored-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const path = join(dir, "file");
  writeFileSync(
    path,
    Uint8Array.from({ length: 100 }, (_, i) => i),
  );
  const fd = openSync(path, "r");
  const buffers = [5, 20, 40].map((length) => new Uint8Array(length));
  expect(await readVectored(fd, 50, buffers)).toBe(50);
  expect([...buffers[0]!]).toEqual([50, 51, 52, 53, 54]);
  expect(buffers[1]![0]).toBe(55);
  expect([...buffers[2]!.subarray(23, 27)]).toEqual([98, 99, 0, 0]);
  expect(await readVectored(fd, 10, buffers)).toBe(65);
  await expect(readVectored(-1, 0, buffers)).rejects.toThrow();
});
