/** `bytes`: an extent as it is, for a layout of one's own. Here: 64-byte seats, each with a number of bookings and a price. */
import { bytes, openStore } from "@pinion/storage";

const SEAT_BYTES = 64;
const dataView = (range: Uint8Array) =>
  new DataView(range.buffer, range.byteOffset, range.byteLength);

const store = await openStore({ dir: process.env["PINION_DATA_DIR"] ?? "./data" });
const hall = await store.open("hall", { seats: bytes() });

await hall.update(({ seats }) => seats.resize(200 * SEAT_BYTES));

const book = (seat: number, cents: number) =>
  hall.update(({ seats }) =>
    seats.update(seat * SEAT_BYTES, SEAT_BYTES, (range) => {
      const fields = dataView(range);
      fields.setUint32(0, fields.getUint32(0) + 1);
      fields.setUint32(4, cents);
    }),
  );
await Promise.all([book(7, 2_400), book(7, 2_600), book(12, 1_900)]);

const booked = await hall.read(({ seats }) => {
  const fields = seats.view();
  let count = 0;
  for (let at = 0; at < fields.length; at += SEAT_BYTES) count += fields.getUint32(at);
  return count;
});
console.log(`${booked} bookings`);

await store.close();
