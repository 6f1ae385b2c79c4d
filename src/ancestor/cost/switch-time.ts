import { type AncestorStrategy, splitDegree } from "../ancestor-strategy.js";
import type { CostOptions, FittedProfile } from "./fitted-profile.js";

/**
 * What the ancestor charges for going from one layer's strategy to the next, in seconds. Its unit is about a hundred
 * times too dear (1e-7 where milliseconds per MB and bytes make 9.5e-10). Between strategies that would tie it puts
 * billionths of a second, so that sharded and recomputed layers come first in a stage.
 * These costs steer its layer choice and are absent from its step time.
 */
export function switchTime(
  profile: FittedProfile,
  options: CostOptions,
  kindIndex: number,
  before: AncestorStrategy,
  after: AncestorStrategy,
  ranks: number,
  globalBatch: number,
  microBatches: number,
): number {
  const splitBefore = splitDegree(before);
  const splitAfter = splitDegree(after);
  if (options.sequenceParallel && splitBefore !== splitAfter) {
    const wide = Math.max(splitBefore, splitAfter);
    const groups = Math.floor(Math.floor(ranks / before.stages) / wide);
    const samples = globalBatch / microBatches / groups;
    const sampleBytes =
      profile.kinds[kindIndex]!.sequence * profile.kinds[0]!.hidden * (options.mixedPrecision ? 2 : 4);
    const perMB = wide === 1 ? 0 : (profile.consecutiveMsPerMB.get(wide) ?? Infinity);
    return ((wide - 1) / wide) * samples * sampleBytes * perMB * 1e-7;
  }
  return tieBias(before, after);
}

function tieBias(before: AncestorStrategy, after: AncestorStrategy): number {
  const sameSplit = before.tensor === after.tensor && before.sequence === after.sequence;
  const sameKind = before.dataParallel === after.dataParallel;
  const sameRecompute = before.recompute === after.recompute;
  if (before.data !== after.data) return 0;
  let bias = 0;
  if (
    sameKind &&
    sameRecompute &&
    before.sequence !== after.sequence &&
    splitDegree(before) === splitDegree(after) &&
    after.sequence > 1
  ) {
    bias = 1e-10;
  }
  if (!sameSplit) return bias;
  const zero3 = after.dataParallel === "zero3";
  if (sameRecompute && !sameKind && zero3) bias = 1e-9;
  if (sameKind && !sameRecompute && after.recompute) bias = 2e-9;
  if (!(sameKind && sameRecompute)) {
    if (zero3 && after.recompute) bias = 3e-9;
    else if (!sameKind && !sameRecompute && before.dataParallel === "zero3" && after.recompute) bias = 1e-9;
  }
  return bias;
}
