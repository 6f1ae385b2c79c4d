import type { FittedProfile } from "./fitted-profile.js";

/** MB of the ancestor's shared activation buffer, paid by every stage where Megatron-SP may be used. */
export function bufferMB(
  profile: FittedProfile,
  ranks: number,
  stages: number,
  bufferSplit: number,
  globalBatch: number,
  microBatches: number,
): number {
  const groups = Math.floor(Math.floor(ranks / stages) / bufferSplit);
  const samples = globalBatch / microBatches / groups;
  const longest = Math.max(...profile.kinds.map((kind) => kind.sequence));
  // halved for every precision: the ancestor asks whether the name of the precision is empty
  return (samples * profile.kinds[0]!.hidden * longest * 4) / 1024 / 1024 / 2;
}
