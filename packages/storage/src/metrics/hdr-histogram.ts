/**
 * HDR histograms (Gil Tene) that keep three digits: within 0.1 % of the value over their whole range.
 *
 * From the library's file for histograms in plain JavaScript alone: its door loads a WebAssembly module, a compressor and a formatter of
 * numbers for what nothing here uses, 50 ms of the start of every host instead of 10 (docs/decisions/0032).
 */
import { constructorFromBucketSize } from "hdr-histogram-js/dist/JsHistogramFactory.js";
import type { Histogram } from "hdr-histogram-js";

export type HdrHistogram = Histogram;

const DIGITS = 3;
const BUCKET_BITS = 32;

/** Of whole numbers from 1 to `max`. */
export function hdrHistogram(max: number): HdrHistogram {
  return new (constructorFromBucketSize(BUCKET_BITS))(1, max, DIGITS);
}
