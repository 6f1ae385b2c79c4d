import type { TensorSplit } from "../plan/strategy.js";

/** Over how many ranks a layer is spread, and how. */
export interface Split {
  readonly tensorDegree: number;
  readonly tensorSplit: TensorSplit;
}

/** Layers that are measured together: of a kind, for so many samples of one micro-batch. */
export interface LayerJob {
  readonly kind: string;
  readonly split: Split;
  readonly samples: number;
}

/** Tensor degrees by powers of two, both ways of splitting. */
function splitsFor(ranks: number): readonly Split[] {
  const splits: Split[] = [{ tensorDegree: 1, tensorSplit: "weights" }];
  for (let degree = 2; degree <= ranks; degree *= 2)
    if (ranks % degree === 0)
      splits.push(
        { tensorDegree: degree, tensorSplit: "weights" },
        { tensorDegree: degree, tensorSplit: "sequence" },
      );
  return splits;
}

/**
 * What is measured of a model's layers. What the search compares stands one right after the other, so that a disturbance meets
 * all of it.
 *
 * On a GPU a tensor group is measured with the fewest samples and with the most of all its ranks, and no size between: there
 * its time grows evenly, and each size takes seconds.
 *
 * @param samples of one rank, ascending
 */
export function layerJobs(
  { device, ranks }: { readonly device: string; readonly ranks: number },
  kinds: readonly string[],
  samples: readonly number[],
): readonly LayerJob[] {
  const last = samples.length - 1;
  const sizes = ({ tensorDegree }: Split, index: number): readonly number[] => {
    const each = samples[index]!;
    if (device !== "cuda" || tensorDegree === 1) return [each];
    if (index === last) return [each * tensorDegree];
    return index === 0 ? [each] : [];
  };
  return samples.flatMap((_, index) =>
    kinds.flatMap((kind) =>
      splitsFor(ranks).flatMap((split) =>
        sizes(split, index).map((count) => ({ kind, split, samples: count })),
      ),
    ),
  );
}
