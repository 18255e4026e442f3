/**
 * A straight line through points whose weight halves with age, and how far it can be trusted: weighted least squares, with the error
 * of the slope and of a prediction. Neighbouring samples of memory use resemble each other (a sawtooth is no noise), so the number
 * of independent points is lowered by (1 − r) / (1 + r), r the correlation of neighbouring residuals.
 */

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface WeightedLine {
  readonly slope: number;
  /** Standard error of the slope. */
  readonly slopeError: number;
  at(x: number): number;
  /** Standard error of a single value at `x`. */
  errorAt(x: number): number;
}

/** @param points at least 3, by growing x @param halfLife of the weights, in units of x, from the last point back */
export function fitLine(points: readonly Point[], halfLife: number): WeightedLine {
  const lastX = points.at(-1)!.x;
  const weights = points.map(({ x }) => 2 ** ((x - lastX) / halfLife));
  const total = sum(weights);
  const meanX = sum(points.map(({ x }, i) => weights[i]! * x)) / total;
  const meanY = sum(points.map(({ y }, i) => weights[i]! * y)) / total;
  const sxx = sum(points.map(({ x }, i) => weights[i]! * (x - meanX) ** 2));
  const sxy = sum(points.map(({ x, y }, i) => weights[i]! * (x - meanX) * (y - meanY)));
  const slope = sxx === 0 ? 0 : sxy / sxx;
  const at = (x: number): number => meanY + slope * (x - meanX);
  const residuals = points.map(({ x, y }) => y - at(x));
  const effective = total ** 2 / sum(weights.map((w) => w * w));
  const independent = Math.max(3, effective * independence(residuals, weights));
  const squares = sum(residuals.map((r, i) => weights[i]! * r * r)) / total;
  // Two parameters were fitted.
  const variance = (squares * independent) / (independent - 2);
  const spreadX = sxx / total;
  const slopeVariance = spreadX === 0 ? 0 : variance / (independent * spreadX);
  return {
    slope,
    slopeError: Math.sqrt(slopeVariance),
    at,
    errorAt: (x) => Math.sqrt(variance * (1 + 1 / independent) + slopeVariance * (x - meanX) ** 2),
  };
}

function independence(residuals: readonly number[], weights: readonly number[]): number {
  let products = 0;
  let squares = 0;
  for (let i = 1; i < residuals.length; i++) {
    products += weights[i]! * residuals[i]! * residuals[i - 1]!;
    squares += weights[i]! * residuals[i]! ** 2;
  }
  const r = squares === 0 ? 0 : Math.min(0.95, Math.max(0, products / squares));
  return (1 - r) / (1 + r);
}

function sum(values: readonly number[]): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

/** Probability that a normal variable is within ± `bound` of its mean (erf by Abramowitz and Stegun 7.1.26, error below 2e-7). */
export function probabilityWithin(bound: number, error: number): number {
  if (error === 0) return 1;
  const z = bound / error / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * z);
  const poly =
    t *
    (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return 1 - poly * Math.exp(-z * z);
}
