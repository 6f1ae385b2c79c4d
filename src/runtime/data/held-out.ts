import { GalvatronError } from "../../base/errors.js";
import type { Dataset } from "./dataset.js";

/** A dataset whose held-out samples an evaluation reads, the first `samples` of them. */
export interface HeldOut {
  readonly dataset: Dataset;
  readonly samples: number;
}

/**
 * What to evaluate on: the held-out samples of what is trained on, or of other data, which is taken whole where it holds
 * nothing out.
 *
 * @param other - data that training does not read; null: that of the training
 * @param most - samples at most
 * @throws GalvatronError DATA_INVALID when there are none, or the data is made for another kind of model
 */
export function heldOutOf(training: Dataset, other: Dataset | null, most: number): HeldOut {
  const dataset = other ? wholeUnlessSplit(other) : training;
  const there = dataset.parts.reduce((sum, part) => sum + part.heldOut, 0);
  if (there === 0)
    throw new GalvatronError(
      "DATA_INVALID",
      "Nothing is held out to evaluate on. Keep a share from training, such as text(…, { heldOut: 0.05 }), or give { evaluate: { data } }.",
    );
  return { dataset, samples: Math.min(there, most) };
}

function wholeUnlessSplit(dataset: Dataset): Dataset {
  if (dataset.parts.some((part) => part.heldOut > 0)) return dataset;
  return {
    ...dataset,
    parts: dataset.parts.map((part) => ({ ...part, samples: 0, heldOut: part.samples })),
  };
}
