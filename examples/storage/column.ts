/** `column`: many values of one type, and what can be said about all of them. */
import { column, openStore } from "@pinion/storage";

const store = await openStore({ dir: process.env["PINION_DATA_DIR"] ?? "./data" });
const sensor = await store.open("sensor/7", { celsius: column("f64"), station: column("string") });

await sensor.update(async ({ celsius, station }) => {
  await celsius.appendMany([19.5, 20.5, 23]);
  await station.appendMany(["roof", "roof", "cellar"]);
});

const [rows, mean, last] = await sensor.read(({ celsius, station }) =>
  Promise.all([celsius.length, celsius.mean(), station.get(2)]),
);
console.log(`${rows} rows, mean ${mean}, the last from the ${last}`);

await store.close();
