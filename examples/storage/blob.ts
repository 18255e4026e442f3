/** `blob`: named bytes of any length; what several have in common is stored once. */
import { blob, openStore } from "@pinion/storage";

const store = await openStore({ dir: process.env["PINION_DATA_DIR"] ?? "./data" });
const archive = await store.open("archive", { files: blob() }, { profile: "cold" });

const report = new TextEncoder().encode("all is well\n".repeat(10_000));
await archive.update(async ({ files }) => {
  await files.put("report.txt", report);
  await files.put("copy of report.txt", report);
  // Many small ones take less time together.
  await files.putAll([
    ["monday.txt", report.subarray(0, 12)],
    ["tuesday.txt", report.subarray(12, 24)],
  ]);
});

await archive.read(async ({ files }) => {
  let byteCount = 0;
  for await (const part of files.get("copy of report.txt")) byteCount += part.length;
  const { blobBytes, chunkBytes } = await files.stats();
  console.log(`${byteCount} bytes read; ${blobBytes} in all, ${chunkBytes} of them stored`);
});

await store.close();
