import type { ModelSpec } from "../model/model-spec.js";
import type { Program } from "../program/program.js";
import { syntheticDataset } from "../runtime/data/find-data.js";
import { optimizerFrom } from "../runtime/optimizer.js";
import type { Feed } from "../runtime/wire.js";

/** More steps than are ever run here, so that the next one's tokens are always read while this one computes. */
const FEED_STEPS = 10_000;

/**
 * Tokens like those of training: products of equal rows would take less power, and so less time. Null for a model that
 * reads something else.
 */
export function syntheticFeed(model: ModelSpec, programs: readonly Program[]): Feed | null {
  const values = programs.flatMap(({ io }) => Object.values(io.inputPlaces).map(({ value }) => value));
  if (values.some((value) => value !== "tokens" && value !== "labels")) return null;
  return {
    dataset: syntheticDataset(model, 1),
    optimizer: optimizerFrom({}, FEED_STEPS),
    steps: FEED_STEPS,
  };
}
