/** A volume with two structures: changed together, read together. */
import { column, map, openStore } from "@pinion/storage";

const store = await openStore({ dir: process.env["PINION_DATA_DIR"] ?? "./data" });
const airport = await store.open(
  "airport/JFK",
  { delays: column("f64"), routes: map<{ km: number }>({ key: "string" }) },
  { profile: "hot" },
);

// Durable when it resolves; all of it or nothing.
await airport.update(async ({ delays, routes }) => {
  await delays.append(12);
  await routes.set("LAX", { km: 3983 });
});

// One moment, beside updates.
const mean = await airport.read(({ delays }) => delays.mean());
console.log(`mean delay: ${mean} min`);

await airport.close();
await store.close();
