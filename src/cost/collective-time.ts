import type { Collective } from "../cluster/hardware-profile.js";
import {
  type CollectiveCurve,
  type CollectiveCurves,
  nearestCurve,
  ringRounds,
  ringVolume,
} from "./collective-curve.js";
import type { GroupShape } from "./group-shape.js";
import { interpolate } from "./interpolate.js";

/** Answers given before, by shape: filled by {@link collectiveMs}, of one machine. */
export interface CollectiveTimes {
  readonly curves: CollectiveCurves;
  readonly nearest: Map<Collective, WeakMap<GroupShape, CollectiveCurve>>;
}

export function collectiveTimes(curves: CollectiveCurves): CollectiveTimes {
  return { curves, nearest: new Map() };
}

/**
 * Time of one collective of `sizeBytes` (the whole tensor, as in CollectiveSample) over a group.
 *
 * Measured shapes are interpolated. Others take the nearest curve, t₀(x), split into its latency λ = t₀(0) and the
 * rest: t(n, x) = λ · rounds(n)/rounds(n₀) + t₀(x · volume(n)/volume(n₀)) − λ.
 */
export function collectiveMs(
  times: CollectiveTimes,
  collective: Collective,
  shape: GroupShape,
  sizeBytes: number,
): number {
  if (shape.ranks <= 1 || sizeBytes <= 0) return 0;
  let known = times.nearest.get(collective);
  if (!known) {
    known = new WeakMap();
    times.nearest.set(collective, known);
  }
  let curve = known.get(shape);
  if (!curve) {
    curve = nearestCurve(times.curves, collective, shape);
    known.set(shape, curve);
  }
  const same = curve.collective === collective && curve.ranks === shape.ranks;
  if (same) return interpolate(curve.sizes, curve.timesMs, sizeBytes);
  const latencyMs = curve.sizes.length === 1 ? 0 : interpolate(curve.sizes, curve.timesMs, 0);
  const rounds = ringRounds(collective, shape.ranks) / ringRounds(curve.collective, curve.ranks);
  const volume = ringVolume(collective, shape.ranks) / ringVolume(curve.collective, curve.ranks);
  return latencyMs * rounds + interpolate(curve.sizes, curve.timesMs, sizeBytes * volume) - latencyMs;
}
