/** A straight line `perUnit * x + constant`. */
export interface Line {
  readonly perUnit: number;
  readonly constant: number;
}

export function onLine(line: Line, x: number): number {
  return line.perUnit * x + line.constant;
}

/**
 * Least-squares line through points. Exact to rounding, where the ancestor's iterative fit stops within about 1e-8.
 *
 * @param x at least two different values
 */
export function fitLine(x: readonly number[], y: readonly number[]): Line {
  const meanX = mean(x);
  const meanY = mean(y);
  let covariance = 0;
  let variance = 0;
  for (let i = 0; i < x.length; i++) {
    const dx = x[i]! - meanX;
    covariance += dx * (y[i]! - meanY);
    variance += dx * dx;
  }
  const perUnit = covariance / variance;
  return { perUnit, constant: meanY - perUnit * meanX };
}

/** A parabola about a centre, so that long sequences do not cancel: `((a u) + b) u + c` with `u = (x - centre) / scale`. */
export interface Parabola {
  readonly centre: number;
  readonly scale: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

export function onParabola(parabola: Parabola, x: number): number {
  const u = (x - parabola.centre) / parabola.scale;
  return (parabola.a * u + parabola.b) * u + parabola.c;
}

/**
 * Least-squares parabola through points, by orthogonal polynomials on the centred, scaled abscissa.
 *
 * @param x at least three different values
 */
export function fitParabola(x: readonly number[], y: readonly number[]): Parabola {
  const centre = mean(x);
  let scale = 0;
  for (const value of x) scale = Math.max(scale, Math.abs(value - centre));
  const u = x.map((value) => (value - centre) / scale);
  // p0 = 1, p1 = u (its mean is 0), p2 = u² - alpha u - beta: orthogonal over the points
  const sumU2 = sum(u.map((v) => v * v));
  const alpha = sum(u.map((v) => v * v * v)) / sumU2;
  const beta = sumU2 / u.length;
  const p2 = u.map((v) => v * v - alpha * v - beta);
  const meanY = mean(y);
  const rest = y.map((v) => v - meanY);
  const slope = sum(u.map((v, i) => v * rest[i]!)) / sumU2;
  const curve = sum(p2.map((v, i) => v * rest[i]!)) / sum(p2.map((v) => v * v));
  return { centre, scale, a: curve, b: slope - curve * alpha, c: meanY - curve * beta };
}

/** The three coefficients of `a x² + b x + c`, as the ancestor prints them. */
export function coefficients(parabola: Parabola): readonly [number, number, number] {
  const a = parabola.a / (parabola.scale * parabola.scale);
  const b = parabola.b / parabola.scale - 2 * a * parabola.centre;
  const c = onParabola(parabola, 0);
  return [a, b, c];
}

function sum(values: readonly number[]): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}
