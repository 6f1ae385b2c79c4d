import type { CollectiveCounts } from "./collective-counts.js";
import { type CollectiveTimes, collectiveMs } from "./collective-time.js";
import type { GroupShape } from "./group-shape.js";

/** What the tensor collectives of one layer cost for one micro-batch. */
export interface TensorTime {
  readonly forwardMs: number;
  readonly backwardMs: number;
}

/**
 * Prices the tensor collectives of a layer by their counts: gathers and scatters of the whole activation (Megatron with
 * sequence parallelism), all-to-alls of a rank's share of it (Ulysses), reductions of one float per position.
 *
 * @param tensorBytes the whole activation `[S, b, H]` of a data rank
 * @param rowBytes one float of every position of every sample
 * @param keyValueShare key heads over query heads
 */
export function tensorCollectives(
  times: CollectiveTimes,
  group: GroupShape,
  counts: CollectiveCounts,
  tensorBytes: number,
  rowBytes: number,
  keyValueShare: number,
): TensorTime {
  if (group.ranks === 1) return { forwardMs: 0, backwardMs: 0 };
  const time = (count: number, collective: Parameters<typeof collectiveMs>[1], bytes: number): number =>
    count === 0 ? 0 : count * collectiveMs(times, collective, group, bytes);
  const own = tensorBytes / group.ranks;
  const exchanges =
    time(counts.wideExchanges, "allToAll", own) +
    time(counts.narrowExchanges, "allToAll", own * keyValueShare);
  return {
    forwardMs:
      time(counts.forwardGathers, "allGather", tensorBytes) +
      time(counts.forwardScatters, "reduceScatter", tensorBytes) +
      time(counts.rowReductions, "allReduce", rowBytes) +
      exchanges,
    backwardMs:
      time(counts.backwardGathers, "allGather", tensorBytes) +
      time(counts.backwardScatters, "reduceScatter", tensorBytes) +
      exchanges,
  };
}
