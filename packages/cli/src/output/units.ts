/** Numbers as people read them. */

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** 1536 → "1.5 KiB"; Infinity → "unlimited". */
export function bytesText(bytes: number): string {
  if (bytes === Infinity) return "unlimited";
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : Number(value.toFixed(1))} ${UNITS[unit]}`;
}

/** Two figures at most: "350 ms", "2.5 s", "3 min 20 s", "2 d 4 h". */
export function durationText(ms: number): string {
  if (ms < 0.001) return `${Math.round(ms * 1e6)} ns`;
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 1000) return `${ms < 10 ? Number(ms.toFixed(1)) : Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${Number(seconds.toFixed(1))} s`;
  const pair = (bigSeconds: number, big: string, smallSeconds: number, small: string): string => {
    const whole = Math.floor(seconds / bigSeconds);
    const rest = Math.floor((seconds % bigSeconds) / smallSeconds);
    return rest === 0 ? `${whole} ${big}` : `${whole} ${big} ${rest} ${small}`;
  };
  if (seconds < 3600) return pair(60, "min", 1, "s");
  if (seconds < 86_400) return pair(3600, "h", 60, "min");
  return pair(86_400, "d", 3600, "h");
}

const integers = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
export const integerText = (n: number): string => integers.format(n);

/** To the microsecond: what lies below is noise in a JSON document. */
export const roundMs = (ms: number): number => Math.round(ms * 1000) / 1000;
