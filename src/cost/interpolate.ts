/**
 * Piecewise linear through measured points; beyond the last point along the last piece (never falling); below
 * the first along the first piece, but never under zero. A single point stands for a line through the origin.
 *
 * @param xs ascending, distinct, not empty
 */
export function interpolate(xs: readonly number[], ys: readonly number[], x: number): number {
  const count = xs.length;
  if (count === 1) return xs[0] === 0 ? ys[0]! : (ys[0]! * x) / xs[0]!;
  let low = 0;
  let high = count - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle]! < x) low = middle + 1;
    else high = middle;
  }
  if (xs[low] === x) return ys[low]!;
  const right = Math.max(1, low);
  const left = right - 1;
  const slope = (ys[right]! - ys[left]!) / (xs[right]! - xs[left]!);
  if (x > xs[count - 1]!) return ys[count - 1]! + Math.max(0, slope) * (x - xs[count - 1]!);
  return Math.max(0, ys[left]! + slope * (x - xs[left]!));
}
