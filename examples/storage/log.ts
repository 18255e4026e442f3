/** `log`: entries in order, each with a number and a time; the beginning can be cut off. */
import { log, openStore } from "@pinion/storage";

const store = await openStore({ dir: process.env["PINION_DATA_DIR"] ?? "./data" });
const door = await store.open("door/front", { events: log<string>() });

await door.update(async ({ events }) => {
  await events.append("opened", 1_000);
  await events.append("closed", 2_000);
  await events.append("opened", 3_000);
  await events.truncateBefore(1);
});

await door.read(async ({ events }) => {
  for await (const { number, value } of events.range({ fromMs: 2_000 }))
    console.log(`${number}: ${value}`);
});

await store.close();
