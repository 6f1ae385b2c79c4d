import type { CostModel } from "../cost/cost-model.js";
import {
  afterMs,
  backwardMs,
  borderBytes,
  edgesMs,
  forwardMs,
  type LayerCost,
  layerCost,
  peakBytes,
} from "../cost/layer-cost.js";
import { type Layout, layoutOf, relayoutMs, sameLayout } from "../cost/relayout-time.js";
import { normMs } from "../cost/shared-gradients.js";
import { transferMs } from "../cost/transfer-time.js";
import { EMBEDDING_KIND, HEAD_KIND } from "../model/model-profile.js";
import type { Strategy } from "../plan/strategy.js";
import type { SpaceOptions } from "./space.js";
import { strategiesOf } from "./strategies.js";

/** What a layer under one strategy adds to its stage. */
export interface Addend {
  readonly forwardMs: number;
  readonly backwardMs: number;
  /** Of backward: what needs no gradient yet. */
  readonly leadMs: number;
  readonly reduceMs: number;
  readonly reduceAloneMs: number;
  readonly edgesMs: number;
  readonly afterMs: number;
  readonly stateBytes: number;
  /** For every micro-batch in flight. */
  readonly activationBytes: number;
  /** Of which a stage needs only the largest of its layers. */
  readonly peakBytes: number;
}

/** The same as a stage's first part: nothing hides its reduction, nor, at the beginning of the model, its gather. */
export function asFirst<T extends Addend>(one: T, stage: number): T {
  return { ...one, reduceMs: stage === 0 ? one.edgesMs : one.reduceAloneMs };
}

/** One strategy of one kind, priced for a micro-batch. */
export interface Choice extends Addend {
  readonly strategy: Strategy;
  /** Number of its layout in {@link ShapeTable.layouts}. */
  readonly layout: number;
}

/** Vocabulary choice: embedding and head under the same strategy. */
export interface VocabularyChoice {
  readonly strategy: Strategy;
  readonly layout: number;
  readonly embedding: Addend;
  readonly head: Addend;
}

/** All prices for one stage width and micro-batch size: shared by every sub-search that meets them. */
export interface ShapeTable {
  /** Tables of one family are alike but for this: what layers take, of their time on ranks that never rest. */
  readonly timeFactor: number;
  readonly family: string;
  /** The norm over all ranks: once a step, part of every stage's time after reduction. */
  readonly normMs: number;
  readonly stageRanks: number;
  readonly microBatchSamples: number;
  readonly layouts: readonly Layout[];
  readonly choices: ReadonlyMap<string, readonly Choice[]>;
  readonly vocabulary: readonly VocabularyChoice[];
  /** One way, from layout to layout, of an activation that enters this kind (or the head). */
  readonly relayouts: ReadonlyMap<string, readonly (readonly number[])[]>;
  /** The same from a stage to the next. */
  readonly transfers: ReadonlyMap<string, readonly (readonly number[])[]>;
}

function addend(cost: LayerCost): Addend {
  return {
    forwardMs: forwardMs(cost),
    backwardMs: backwardMs(cost),
    leadMs: cost.leadMs,
    reduceMs: cost.reduceMs,
    reduceAloneMs: cost.reduceAloneMs,
    edgesMs: edgesMs(cost),
    afterMs: afterMs(cost),
    stateBytes: cost.parameterBytes + cost.gradientBytes + cost.optimizerBytes,
    activationBytes: cost.activationBytes,
    peakBytes: peakBytes(cost),
  };
}

function beats(a: Addend, b: Addend): boolean {
  return (
    a.forwardMs <= b.forwardMs &&
    a.backwardMs <= b.backwardMs &&
    a.leadMs >= b.leadMs &&
    a.reduceMs <= b.reduceMs &&
    a.reduceAloneMs <= b.reduceAloneMs &&
    a.edgesMs <= b.edgesMs &&
    a.afterMs <= b.afterMs &&
    a.stateBytes <= b.stateBytes &&
    a.activationBytes <= b.activationBytes &&
    a.peakBytes <= b.peakBytes
  );
}

const betterChoice = (a: Choice, b: Choice): boolean => a.layout === b.layout && beats(a, b);
const betterAs = (a: VocabularyChoice, b: VocabularyChoice): boolean =>
  beats(a.embedding, b.embedding) && beats(a.head, b.head);
const betterEnds = (a: VocabularyChoice, b: VocabularyChoice): boolean =>
  a.layout === b.layout && betterAs(a, b);

/** Leaves out what another entry beats (or equals: the first of equals stays). */
function undominated<T>(list: readonly T[], better: (a: T, b: T) => boolean): T[] {
  return list.filter(
    (one, index) =>
      !list.some((other, at) => at !== index && better(other, one) && (at < index || !better(one, other))),
  );
}

/** Prices everything that a stage of `stageRanks` ranks could do with micro-batches of `microBatchSamples` samples. */
export function shapeTable(
  cost: CostModel,
  stageRanks: number,
  microBatchSamples: number,
  accumulates: boolean,
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
  const price = (kind: string, strategy: Strategy): Addend | undefined => {
    if (microBatchSamples % strategy.dataDegree !== 0) return undefined;
    const priced = layerCost(cost, kind, strategy, microBatchSamples / strategy.dataDegree, accumulates);
    return priced && addend(priced);
  };
  const kinds = [...new Set(cost.model.layers)];
  const choices = new Map<string, readonly Choice[]>();
  for (const kind of kinds) {
    const own = strategiesOf(cost.model, kind, stageRanks, space).flatMap((strategy): Choice[] => {
      const priced = price(kind, strategy);
      return priced ? [{ ...priced, strategy, layout: layoutNumber(strategy) }] : [];
    });
    choices.set(kind, undominated(own, betterChoice));
  }
  const ends = strategiesOf(cost.model, EMBEDDING_KIND, stageRanks, space).flatMap(
    (strategy): VocabularyChoice[] => {
      const embedding = price(EMBEDDING_KIND, strategy);
      const head = price(HEAD_KIND, strategy);
      return embedding && head ? [{ strategy, layout: layoutNumber(strategy), embedding, head }] : [];
    },
  );
  const vocabulary = undominated(ends, betterEnds);
  const relayouts = new Map<string, readonly (readonly number[])[]>();
  const transfers = new Map<string, readonly (readonly number[])[]>();
  for (const kind of [...kinds, HEAD_KIND]) {
    const bytes = borderBytes(cost, kind, microBatchSamples);
    const table = (time: typeof relayoutMs): number[][] =>
      layouts.map((from) => layouts.map((to) => time(cost, from, to, stageRanks, bytes)));
    relayouts.set(kind, table(relayoutMs));
    transfers.set(kind, table(transferMs));
  }
  const tables = { layouts, choices, vocabulary, relayouts, transfers };
  const family = `${stageRanks} ${microBatchSamples} ${accumulates}`;
  const { timeFactor } = cost.layers;
  const shape = { timeFactor, family, normMs: normMs(cost), stageRanks, microBatchSamples };
  return withoutBeatenLayouts({ ...shape, ...tables });
}

/**
 * Leaves out layouts that another one beats: whatever is done in them, a plan with the other layout instead is no
 * slower. Inside a node consecutive and strided groups often cost the same, and one of them is enough.
 */
function withoutBeatenLayouts(shape: ShapeTable): ShapeTable {
  const { layouts, relayouts, transfers } = shape;
  const lists = [...shape.choices.values()];
  const alive = new Set(layouts.keys());
  const covers = (a: number, b: number): boolean => {
    for (const list of lists)
      for (const one of list)
        if (one.layout === b && !list.some((other) => other.layout === a && beats(other, one))) return false;
    for (const one of shape.vocabulary)
      if (one.layout === b && !shape.vocabulary.some((other) => other.layout === a && betterAs(other, one)))
        return false;
    for (const table of relayouts.values())
      for (const x of alive)
        if (x !== a && x !== b && (table[x]![a]! > table[x]![b]! || table[a]![x]! > table[b]![x]!))
          return false;
    for (const table of transfers.values()) {
      for (const x of alive)
        if (x !== b && (table[x]![a]! > table[x]![b]! || table[a]![x]! > table[b]![x]!)) return false;
      if (table[a]![a]! > table[b]![b]!) return false;
    }
    return true;
  };
  for (const b of [...alive].reverse())
    for (const a of alive)
      if (a !== b && covers(a, b)) {
        alive.delete(b);
        break;
      }
  if (alive.size === layouts.length) return shape;
  const kept = <T extends { readonly layout: number }>(list: readonly T[]): T[] =>
    list.filter(({ layout }) => alive.has(layout));
  const choices = new Map([...shape.choices].map(([kind, list]) => [kind, kept(list)]));
  return { ...shape, choices, vocabulary: kept(shape.vocabulary) };
}
