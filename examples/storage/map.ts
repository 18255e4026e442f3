/** `map`: keys in order, each with a value. */
import { map, openStore } from "@pinion/storage";

const store = await openStore({ dir: process.env["PINION_DATA_DIR"] ?? "./data" });
const shop = await store.open("shop", { prices: map<number>({ key: "string" }) });

await shop.update(async ({ prices }) => {
  await prices.set("pear", 30);
  await prices.set("apple", 25);
  await prices.set("plum", 10);
});

await shop.read(async ({ prices }) => {
  for await (const [name, cents] of prices.prefix("p")) console.log(`${name}: ${cents} cents`);
});

await store.close();
