/**
 * The ancestor's step time of a pipeline (the same formula in 2.x and 3.0), in the unit of its inputs.
 *
 * T₁ = Σ cᵢ + (m − 1) c_last; T₂ = max(min(P, m) − 1) c₀, Σ_{i≥1} cᵢ) + max(0, m + 1 − P) c₀;
 * R = max(0, maxᵢ (sᵢ − Σ_{j≤i} cⱼ)); T = max(T₁, T₂) + R.
 * Middle stages count once and not once per micro-batch: a slow one costs nothing (our own model repairs this).
 *
 * @param unsynced c: per stage, layers without gradient synchronisation plus embedding or head
 * @param synced s: per stage, layers with it
 */
export function pipelineTime(
  unsynced: ArrayLike<number>,
  synced: ArrayLike<number>,
  microBatches: number,
): number {
  const stages = unsynced.length;
  let sum = 0;
  let exposed = 0;
  for (let i = 0; i < stages; i++) {
    sum += unsynced[i]!;
    exposed = Math.max(exposed, synced[i]! - sum);
  }
  return steadyTime(unsynced[0]!, sum, unsynced[stages - 1]!, stages, microBatches) + exposed;
}

/** max(T₁, T₂) of {@link pipelineTime} from the three numbers it reads. */
export function steadyTime(
  first: number,
  sum: number,
  last: number,
  stages: number,
  microBatches: number,
): number {
  const drain = sum + last * (microBatches - 1);
  const ramp = Math.min(stages - 1, microBatches - 1) * first;
  const fill = Math.max(ramp, sum - first) + first * Math.max(0, microBatches + 1 - stages);
  return Math.max(drain, fill);
}
