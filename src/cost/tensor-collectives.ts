import { type CollectiveTimes, collectiveMs } from "./collective-time.js";
import type { GroupShape } from "./group-shape.js";

/** What the tensor collectives of one layer cost for one micro-batch. */
export interface TensorTime {
  readonly forwardMs: number;
  readonly backwardMs: number;
}

/**
 * Megatron tensor parallelism with sequence parallelism (Korthikanti et al. 2022, section 4.2.2). Forward gathers
 * the sequence before and reduce-scatters it after each of the two parallel regions; backward is the conjugate,
 * and gathers each region's input once more, since only its cut form is saved.
 *
 * @param tensorBytes the whole activation `[S, b, H]` of a data rank
 */
export function megatronCollectives(
  times: CollectiveTimes,
  group: GroupShape,
  tensorBytes: number,
  regions: number,
): TensorTime {
  const gather = collectiveMs(times, "allGather", group, tensorBytes);
  const scatter = collectiveMs(times, "reduceScatter", group, tensorBytes);
  return { forwardMs: regions * (gather + scatter), backwardMs: regions * (2 * gather + scatter) };
}

/**
 * Ulysses (Jacobs et al. 2023, section 3.1): all-to-alls of query, key, value and of attention's output, and the
 * same four backward. Key and value are smaller under grouped-query attention.
 *
 * @param tensorBytes the whole activation `[S, b, H]` of a data rank
 * @param keyValueShare key heads over query heads
 */
export function ulyssesCollectives(
  times: CollectiveTimes,
  group: GroupShape,
  tensorBytes: number,
  keyValueShare: number,
): TensorTime {
  const own = tensorBytes / group.ranks;
  const wide = collectiveMs(times, "allToAll", group, own);
  const narrow = collectiveMs(times, "allToAll", group, own * keyValueShare);
  return { forwardMs: 2 * wide + 2 * narrow, backwardMs: 2 * wide + 2 * narrow };
}
