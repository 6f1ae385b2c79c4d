import type { CostModel } from "../cost/cost-model.js";
import {
  afterMs,
  backwardMs,
  borderBytes,
  forwardMs,
  type LayerCost,
  layerCost,
  peakBytes,
} from "../cost/layer-cost.js";
import { type Layout, layoutOf, relayoutMs, sameLayout } from "../cost/relayout-time.js";
import { transferMs } from "../cost/stage-cost.js";
import { EMBEDDING_KIND, HEAD_KIND } from "../model/model-profile.js";
import type { Strategy } from "../plan/strategy.js";
import type { SpaceOptions } from "./space.js";
import { strategiesOf } from "./strategies.js";

/** One strategy of one kind, priced for a micro-batch. */
export interface Choice {
  readonly strategy: Strategy;
  /** Number of its layout in {@link ShapeTable.layouts}. */
  readonly layout: number;
  readonly cost: LayerCost;
  readonly forwardMs: number;
  readonly backwardMs: number;
  readonly afterMs: number;
  readonly stateBytes: number;
  readonly peakBytes: number;
}

/** Vocabulary choice: embedding and head under the same strategy. */
export interface VocabularyChoice {
  readonly strategy: Strategy;
  readonly layout: number;
  readonly embedding: LayerCost;
  readonly head: LayerCost;
}

/** All prices for one stage width and micro-batch size: shared by every search that meets them. */
export interface ShapeTable {
  readonly stageRanks: number;
  readonly microBatchSamples: number;
  readonly layouts: readonly Layout[];
  readonly choices: ReadonlyMap<string, readonly Choice[]>;
  readonly vocabulary: readonly VocabularyChoice[];
  /** One way, from layout to layout, of an activation that enters this kind. */
  readonly relayouts: ReadonlyMap<string, readonly (readonly number[])[]>;
  readonly transfers: ReadonlyMap<string, number>;
}

/** Prices everything that a stage of `stageRanks` ranks could do with micro-batches of `microBatchSamples` samples. */
export function shapeTable(
  cost: CostModel,
  stageRanks: number,
  microBatchSamples: number,
  space: SpaceOptions,
): ShapeTable {
  const layouts: Layout[] = [];
  const layoutNumber = (strategy: Strategy): number => {
    const layout = layoutOf(strategy);
    const found = layouts.findIndex((other) => sameLayout(other, layout));
    if (found >= 0) return found;
    layouts.push(layout);
    return layouts.length - 1;
  };
  const kinds = [...new Set(cost.model.layers)];
  const fits = (strategy: Strategy): boolean => microBatchSamples % strategy.dataDegree === 0;
  const choices = new Map<string, readonly Choice[]>();
  for (const kind of kinds) {
    const own: Choice[] = [];
    for (const strategy of strategiesOf(cost.model, kind, stageRanks, space)) {
      if (!fits(strategy)) continue;
      const priced = layerCost(cost, kind, strategy, microBatchSamples / strategy.dataDegree);
      if (!priced) continue;
      own.push({
        strategy,
        layout: layoutNumber(strategy),
        cost: priced,
        forwardMs: forwardMs(priced),
        backwardMs: backwardMs(priced),
        afterMs: afterMs(priced),
        stateBytes: priced.parameterBytes + priced.gradientBytes + priced.optimizerBytes,
        peakBytes: peakBytes(priced),
      });
    }
    choices.set(kind, own);
  }
  const vocabulary: VocabularyChoice[] = [];
  for (const strategy of strategiesOf(cost.model, EMBEDDING_KIND, stageRanks, space)) {
    if (!fits(strategy)) continue;
    const samples = microBatchSamples / strategy.dataDegree;
    const embedding = layerCost(cost, EMBEDDING_KIND, strategy, samples);
    const head = layerCost(cost, HEAD_KIND, strategy, samples);
    if (embedding && head) vocabulary.push({ strategy, layout: layoutNumber(strategy), embedding, head });
  }
  const relayouts = new Map<string, readonly (readonly number[])[]>();
  const transfers = new Map<string, number>();
  for (const kind of [...kinds, HEAD_KIND]) {
    const bytes = borderBytes(cost, kind, microBatchSamples);
    relayouts.set(
      kind,
      layouts.map((from) => layouts.map((to) => relayoutMs(cost, from, to, stageRanks, bytes))),
    );
    transfers.set(kind, transferMs(cost, kind, stageRanks, microBatchSamples));
  }
  return { stageRanks, microBatchSamples, layouts, choices, vocabulary, relayouts, transfers };
}
