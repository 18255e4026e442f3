/** Numbers of options against their bounds, with the message every option set of this folder gives. */
import { PinionError } from "@pinion/core";

export interface Bound {
  readonly min: number;
  readonly max: number;
  /** Only whole numbers. */
  readonly whole?: boolean;
}

/** @throws `config-invalid`, naming the key, its value and the bound it breaks */
export function checkBounds<B extends Record<string, Bound>>(
  section: string,
  bounds: B,
  values: Readonly<Record<keyof B, number>>,
): void {
  for (const [name, { min, max, whole }] of Object.entries<Bound>(bounds)) {
    const value = values[name]!;
    const key = `${section}.${name}`;
    if (!(value >= min && value <= max))
      throw invalidOption(key, value, `must be from ${min} to ${max}`);
    if (whole && !Number.isInteger(value))
      throw invalidOption(key, value, "must be a whole number");
  }
}

export function invalidOption(key: string, value: number, relation: string): PinionError {
  return new PinionError("config-invalid", `${key} is ${value}: it ${relation}`, {
    details: { key, value },
  });
}
