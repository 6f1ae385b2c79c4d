/** All divisors of a whole number, ascending. */
export function divisors(value: number): number[] {
  const small: number[] = [];
  const large: number[] = [];
  for (let divisor = 1; divisor * divisor <= value; divisor++) {
    if (value % divisor !== 0) continue;
    small.push(divisor);
    if (divisor * divisor !== value) large.unshift(value / divisor);
  }
  return [...small, ...large];
}

/** Powers of two up to a limit, and with `everyDegree` the divisors of the limit too, ascending. */
export function degreesUpTo(limit: number, everyDegree: boolean): number[] {
  const degrees = new Set(everyDegree ? divisors(limit) : []);
  for (let degree = 1; degree <= limit; degree *= 2) degrees.add(degree);
  return [...degrees].sort((a, b) => a - b);
}
