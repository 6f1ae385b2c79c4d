/**
 * Time of computing for `computeMs` while a collective of `communicationMs` runs beside it, when each slows the
 * other down while both run. Whatever is left of the longer one runs at full speed.
 */
export function overlappedMs(
  computeMs: number,
  communicationMs: number,
  computeSlowdown: number,
  communicationSlowdown: number,
): number {
  const slowCompute = computeMs * computeSlowdown;
  const slowCommunication = communicationMs * communicationSlowdown;
  // Running side by side can never be worth more than running one after the other.
  const together =
    slowCommunication >= slowCompute
      ? slowCompute + (communicationMs - slowCompute / communicationSlowdown)
      : slowCommunication + (computeMs - slowCommunication / computeSlowdown);
  return Math.min(computeMs + communicationMs, together);
}
