import { expect, onTestFinished, test } from "vitest";
import { memoryDoor } from "../memory/open-memory-door.ts";
import { PortableMemory } from "../memory/portable-memory.ts";
import { FRAME_BYTES, RegionFrames, SlabFrames, type FrameStore } from "./frame-store.ts";

const FRAMES = 1024;

function regionFrames(door: ReturnType<typeof memoryDoor>): FrameStore {
  const region = door.reserve(FRAMES * FRAME_BYTES);
  onTestFinished(() => region.release());
  return new RegionFrames(region);
}

test.each<[string, () => FrameStore]>([
  ["slabs", () => new SlabFrames()],
  ["a region of the best door", () => regionFrames(memoryDoor())],
  ["a region of the portable door", () => regionFrames(new PortableMemory())],
])(
  "frames in %s do not overlap, keep their bytes, and can be used again after they were given back",
  (_, make) => {
    const store = make();
    expect(store.framesMax).toBeGreaterThanOrEqual(FRAMES);
    const check = (below: number): void => {
      for (let frame = 0; frame < below; frame++) {
        const bytes = store.bytes(frame);
        expect(bytes.length).toBe(FRAME_BYTES);
        expect([bytes[0], bytes[FRAME_BYTES - 1]]).toEqual([frame % 251, frame % 251]);
      }
    };
    const fill = (from: number): void => {
      for (let frame = from; frame < FRAMES; frame++) store.bytes(frame).fill(frame % 251);
    };
    fill(0);
    check(FRAMES);
    store.discardFrom(300);
    check(300);
    fill(300);
    check(FRAMES);
    for (let frame = 0; frame < FRAMES; frame += 3) {
      let count = 1;
      while (frame + count < FRAMES && store.adjoinsNext(frame + count - 1)) count++;
      const bytes = store.bytes(frame, count);
      expect(bytes.length).toBe(count * FRAME_BYTES);
      expect(bytes.at(-1)).toBe((frame + count - 1) % 251);
    }
  },
);

test("frames in a region lie where direct reads need them", () => {
  const store = regionFrames(memoryDoor());
  for (const frame of [0, 1, FRAMES - 1])
    expect(store.bytes(frame).byteOffset % FRAME_BYTES).toBe(0);
});
