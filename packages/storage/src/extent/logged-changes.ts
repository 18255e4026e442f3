/** What the log has of turns, put on extents as they are opened. */
import type { ExtentDelta } from "./extent-delta.ts";
import type { ExtentImage } from "./extent-image.ts";
import { PAGE_BYTES, pageOf } from "./extent-pages.ts";

/** The bytes of one turn's changes, on an image that is not resident. */
export async function applyLogged(image: ExtentImage, delta: ExtentDelta): Promise<void> {
  const { minLengthBytes, lengthBytes } = delta;
  const { ranges } = delta;
  const pages = new Map<number, Uint8Array>();
  const bring = async (page: number): Promise<Uint8Array> => {
    let bytes = pages.get(page);
    if (bytes === undefined) {
      const start = page * PAGE_BYTES;
      bytes =
        start >= minLengthBytes ? new Uint8Array(PAGE_BYTES) : (await image.readPage(page)).slice();
      if (start + PAGE_BYTES > minLengthBytes) bytes.fill(0, Math.max(0, minLengthBytes - start));
      pages.set(page, bytes);
    }
    return bytes;
  };
  if (minLengthBytes < image.lengthBytes && minLengthBytes % PAGE_BYTES !== 0)
    await bring(pageOf(minLengthBytes));
  for (const { offset, parts } of ranges) {
    const bytes = parts[0] as Uint8Array; // what was decoded is in one piece
    for (let page = pageOf(offset); page * PAGE_BYTES < offset + bytes.length; page++) {
      const content = await bring(page);
      const start = page * PAGE_BYTES;
      const from = Math.max(0, start - offset);
      content.set(
        bytes.subarray(from, Math.min(bytes.length, start + PAGE_BYTES - offset)),
        Math.max(0, offset - start),
      );
    }
  }
  image.apply(minLengthBytes, lengthBytes, ranges, (page) => pages.get(page) as Uint8Array);
}
