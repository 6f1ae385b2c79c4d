import type { ModelSpec } from "../model/model-spec.js";
import { syntheticDataset } from "../runtime/data/find-data.js";
import { optimizerFrom } from "../runtime/optimizer.js";
import type { Feed } from "../runtime/wire.js";

/** More steps than are ever run here, so that the next one's samples are always read while this one computes. */
const FEED_STEPS = 10_000;

/** Samples like those of training: products of equal rows would take less power, and so less time. */
export function syntheticFeed(model: ModelSpec): Feed {
  return {
    dataset: syntheticDataset(model, 1),
    optimizer: optimizerFrom({}, FEED_STEPS),
    steps: FEED_STEPS,
  };
}
