import { criticalPath } from "../cost/critical-path.js";
import { inFlight, pipelineTime, type StageWork } from "../cost/pipeline-time.js";
import { HEAD_KIND } from "../model/model-profile.js";
import { bytesOf, candidateBound, kindCounts, passMs, pricedParts, rankOf } from "./candidate-bound.js";
import { divide, type Suffix, suffixStages } from "./division.js";
import { fullFrontier, type Label, rankFrontier } from "./label.js";
import { memoryPrice } from "./memory-price.js";
import type { OuterChoice } from "./outer-choice.js";
import type { SchedulePath } from "./schedule-bound.js";
import type { Addend, ShapeTable, VocabularyChoice } from "./shape-table.js";
import { optionFrontier, type StageOption, stageOption } from "./stage-option.js";
import { stageTable } from "./stage-table.js";

/** One sub-search. */
export interface Problem {
  readonly shape: ShapeTable;
  readonly outer: OuterChoice;
  /** Kinds of the body, layer by layer. */
  readonly kinds: readonly string[];
  /** Bytes of a rank, the worker's reserve taken off. */
  readonly budgetBytes: number;
  /** Layers of every stage where stages must be equal, otherwise 0. */
  readonly even: number;
}

/** A plan in the search's own terms. */
export interface Found {
  readonly problem: Problem;
  readonly stepMs: number;
  readonly vocabulary: VocabularyChoice;
  readonly suffix: Suffix;
}

export interface Solved {
  readonly best: Found | null;
  /** No plan of this sub-search is faster. */
  readonly lowerBoundMs: number;
}

/** Relative difference below which two step times are the same. */
const SAME = 1e-12;
/** How far above the bound to look for a plan, round after round: a near bound keeps tables small. */
const WIDENINGS: readonly number[] = [0.002, 0.01, 0.04, 0.15, 0.5, 2];
/** Critical paths that may be learnt before a gap is accepted. */
const MOST_PATHS = 24;

/** Least prices of one kind. */
interface Least {
  readonly forwardMs: number;
  readonly backwardMs: number;
  readonly passMs: number;
  readonly rankMs: number;
}

function leastOf(list: readonly Addend[], microBatches: number): Least {
  const least = (value: (one: Addend) => number): number =>
    list.reduce((low, one) => Math.min(low, value(one)), Number.POSITIVE_INFINITY);
  return {
    forwardMs: least((one) => one.forwardMs),
    backwardMs: least((one) => one.backwardMs),
    passMs: least(passMs),
    rankMs: least((one) => rankOf(one, microBatches)),
  };
}

/** Running sums over the layers: entry i holds the first i. */
function prefix(kinds: readonly string[], value: (kind: string) => number): Float64Array {
  const sums = new Float64Array(kinds.length + 1);
  for (const [index, kind] of kinds.entries()) sums[index + 1] = sums[index]! + value(kind);
  return sums;
}

/** The stage works of a division, for the schedule's recurrence. */
export function suffixWorks(suffix: Suffix): StageWork[] {
  return suffixStages(suffix).map(({ option, sendMs, gradientMs }) => ({
    forwardMs: option.forwardMs,
    backwardMs: option.backwardMs,
    sendMs,
    gradientMs,
    reduceMs: option.reduceMs,
    afterMs: option.afterMs,
  }));
}

/** Best plan of one sub-search that is faster than `capMs`, with a bound that none of its plans is below. */
export function solveCandidate(problem: Problem, capMs: number): Solved {
  const { shape, outer, kinds, budgetBytes } = problem;
  const bound = candidateBound(shape, outer, kinds, budgetBytes);
  if (!(bound < capMs)) return { best: null, lowerBoundMs: bound };
  for (const widening of [...WIDENINGS, Number.POSITIVE_INFINITY]) {
    const limitMs = Math.min(capMs, bound * (1 + widening));
    const solved = attempt(problem, limitMs);
    if (solved.best || limitMs >= capMs) return solved;
  }
  return { best: null, lowerBoundMs: capMs };
}

function attempt(problem: Problem, limitMs: number): Solved {
  const { shape, outer, kinds } = problem;
  const { stages, microBatches: m, schedule } = outer;
  const least = new Map(
    [...new Set(kinds)].map((kind) => [kind, leastOf(shape.choices.get(kind)!, m)] as const),
  );
  const forwardSums = prefix(kinds, (kind) => least.get(kind)!.forwardMs);
  const backwardSums = prefix(kinds, (kind) => least.get(kind)!.backwardMs);
  const tableOf = stageTables(problem, least, limitMs);
  const middle = new Map<string, readonly StageOption[]>();
  let best: Found | null = null;
  let lowerBoundMs = limitMs;
  for (const vocabulary of shape.vocabulary) {
    const ends = new Map<string, readonly StageOption[]>();
    const options = (stage: number, start: number): readonly StageOption[] => {
      const outerStage = stage === 0 || stage === stages - 1;
      const cache = outerStage ? ends : middle;
      const { table, signature } = tableOf(stage, start);
      const key = `${stage} ${signature}`;
      let list = cache.get(key);
      if (!list) {
        list = optionsOf(problem, table, stage, start, vocabulary, limitMs);
        cache.set(key, list);
      }
      return list;
    };
    const paths: SchedulePath[] = [];
    for (;;) {
      const limit = Math.min(limitMs, best ? best.stepMs * (1 - SAME) : Number.POSITIVE_INFINITY);
      const divisions = divide({
        layers: kinds.length,
        stages,
        microBatches: m,
        schedule,
        options,
        transfer: (layer, from, to) => shape.transfers.get(kinds[layer]!)![from]![to]!,
        forwardBefore: (start) => (start > 0 ? forwardSums[start]! + vocabulary.embedding.forwardMs : 0),
        backwardBefore: (start) => (start > 0 ? backwardSums[start]! + vocabulary.embedding.backwardMs : 0),
        paths,
        limitMs: limit,
      });
      for (const suffix of divisions) {
        if (best && suffix.boundMs >= best.stepMs * (1 - SAME)) break;
        const { stepMs } = pipelineTime(schedule, m, suffixWorks(suffix));
        if (stepMs <= limitMs && (!best || stepMs < best.stepMs * (1 - SAME)))
          best = { problem, stepMs, vocabulary, suffix };
      }
      const first = divisions[0];
      if (!first) break;
      if (best && first.boundMs >= best.stepMs * (1 - SAME)) break;
      if (paths.length >= MOST_PATHS) {
        lowerBoundMs = Math.min(lowerBoundMs, first.boundMs);
        break;
      }
      paths.push(criticalPath(schedule, m, suffixWorks(first)));
    }
  }
  return { best, lowerBoundMs: Math.min(lowerBoundMs, best ? best.stepMs : limitMs) };
}

function optionsOf(
  problem: Problem,
  table: readonly Label[][],
  stage: number,
  start: number,
  vocabulary: VocabularyChoice,
  limitMs: number,
): readonly StageOption[] {
  const { shape, outer, kinds, budgetBytes, even } = problem;
  const { stages, microBatches, schedule } = outer;
  const last = stage === stages - 1;
  const ends = {
    inFlight: inFlight(schedule, stage, stages, microBatches),
    microBatches,
    firstKind: kinds[start]!,
    headKind: HEAD_KIND,
    embedding: stage === 0 ? vocabulary : undefined,
    head: last ? vocabulary : undefined,
  };
  const result: StageOption[] = [];
  for (const [index, labels] of table.entries()) {
    if (even !== 0 && index + 1 !== even) continue;
    if (stages === 1 && index + 1 !== kinds.length) continue;
    for (const label of labels) {
      const option = stageOption(shape, label, index + 1, ends);
      if (option.bytes <= budgetBytes && option.rankMs <= limitMs) result.push(option);
    }
  }
  return optionFrontier(result);
}

interface SignedTable {
  readonly table: readonly Label[][];
  readonly signature: string;
}

/** Stage tables of one attempt, made when asked for. Stages that see the same kinds ahead share one. */
function stageTables(
  problem: Problem,
  least: ReadonlyMap<string, Least>,
  limitMs: number,
): (stage: number, start: number) => SignedTable {
  const { shape, outer, kinds, budgetBytes } = problem;
  const { stages, microBatches: m, schedule } = outer;
  const made = new Map<string, SignedTable>();
  const endRank = Math.min(
    ...shape.vocabulary.map(({ embedding, head }) => Math.min(rankOf(embedding, m), rankOf(head, m))),
  );
  const totalPass = kinds.reduce((sum, kind) => sum + least.get(kind)!.passMs, 0);
  // Kinds ahead of a layer are alike up to here.
  const runEnd = new Int32Array(kinds.length);
  for (let i = kinds.length - 1; i >= 0; i--)
    runEnd[i] = i + 1 < kinds.length && kinds[i + 1] === kinds[i] ? runEnd[i + 1]! : i + 1;
  return (stage, start) => {
    const held = inFlight(schedule, stage, stages, m);
    const most = kinds.length - start - (stages - 1 - stage);
    const alike = runEnd[start]! >= start + most;
    const signature = alike ? kinds[start]! : `from ${start}`;
    const key = `${signature} ${held} ${stage === 0} ${stage === stages - 1}`;
    const known = made.get(key);
    if (known) return known;
    // The first start that asks is the earliest of its stage, so no later one needs more layers.
    const ahead = alike
      ? new Array<string>(kinds.length - (stages - 1)).fill(kinds[start]!)
      : kinds.slice(start, start + most);
    const query = { stage, held, ahead, least, limitMs, endRank, totalPass };
    const table = stageTable(shape, {
      kinds: ahead,
      inFlight: held,
      microBatches: m,
      budgetBytes,
      afterEmbedding: stage === 0,
      frontier: stages === 1 ? rankFrontier : fullFrontier,
      worth: stages === 1 ? worthAlone(problem, limitMs) : worthInPipeline(problem, query),
    });
    const result = { table, signature };
    made.set(key, result);
    return result;
  };
}

/** One stage: time so far, plus what the rest takes at the best price on memory, must stay within the limit. */
function worthAlone(problem: Problem, limitMs: number): (label: Label, layers: number) => boolean {
  const { shape, outer, kinds, budgetBytes } = problem;
  const m = outer.microBatches;
  const held = inFlight(outer.schedule, 0, 1, m);
  const cost = (one: Addend): number => rankOf(one, m);
  const { msPerByte } = memoryPrice(pricedParts(shape, kindCounts(kinds), held, cost), budgetBytes);
  const rests = [0, msPerByte].map((price) => {
    const leastPriced = (list: readonly Addend[]): number =>
      list.reduce(
        (low, one) => Math.min(low, cost(one) + price * bytesOf(one, held)),
        Number.POSITIVE_INFINITY,
      );
    const byKind = new Map([...new Set(kinds)].map((kind) => [kind, leastPriced(shape.choices.get(kind)!)]));
    const ends = shape.vocabulary.reduce(
      (low, { embedding, head }) =>
        Math.min(
          low,
          cost(embedding) + cost(head) + price * (bytesOf(embedding, held) + bytesOf(head, held)),
        ),
      Number.POSITIVE_INFINITY,
    );
    const rest = new Float64Array(kinds.length + 1);
    rest[kinds.length] = ends;
    for (let i = kinds.length - 1; i >= 0; i--) rest[i] = rest[i + 1]! + byKind.get(kinds[i]!)!;
    return { price, rest };
  });
  const slack = limitMs * (1 + SAME);
  return (label, layers) =>
    rests.every(
      ({ price, rest }) => label.rankMs + price * (label.sumBytes - budgetBytes) + rest[layers]! <= slack,
    );
}

interface PipelineQuery {
  readonly stage: number;
  readonly held: number;
  readonly ahead: readonly string[];
  readonly least: ReadonlyMap<string, Least>;
  readonly limitMs: number;
  readonly endRank: number;
  readonly totalPass: number;
}

/**
 * A stage among others. With r its time alone and t its time for one micro-batch, some number of layers ℓ that it can
 * still grow to must satisfy both r(ℓ) ≤ limit and t(ℓ) + (m − 1) τ(ℓ) / (p − 1) ≤ limit, where τ(ℓ) is the least
 * time of all other layers: the fullest other stage q has t_q ≥ τ / (p − 1), and for 1F1B and GPipe alike some path
 * passes this stage once and q at least m − 1 times.
 */
function worthInPipeline(problem: Problem, query: PipelineQuery): (label: Label, layers: number) => boolean {
  const { shape, outer, budgetBytes } = problem;
  const { stages, microBatches: m } = outer;
  const { stage, held, ahead, least, limitMs, totalPass } = query;
  const count = ahead.length;
  const isEnd = stage === 0 || stage === stages - 1;
  const limitRank = limitMs * (1 + SAME) - (isEnd ? query.endRank : 0);
  const pass = prefix(ahead, (kind) => least.get(kind)!.passMs);
  const ranks = prefix(ahead, (kind) => least.get(kind)!.rankMs);
  const others = new Float64Array(count + 1);
  for (let l = 0; l <= count; l++) others[l] = ((m - 1) * Math.max(0, totalPass - pass[l]!)) / (stages - 1);
  // The price on memory at about the length that stages will have.
  const typical = ahead.slice(0, Math.max(1, Math.round(problem.kinds.length / stages)));
  const counts = kindCounts(typical);
  const parts = [...counts].map(([kind, number]) => ({
    count: number,
    alternatives: shape.choices.get(kind)!.map((one) => ({ bytes: bytesOf(one, held), ms: rankOf(one, m) })),
  }));
  const { msPerByte } = memoryPrice(parts, budgetBytes);
  const priced = prefix(ahead, (kind) =>
    shape.choices
      .get(kind)!
      .reduce(
        (low, one) => Math.min(low, rankOf(one, m) + msPerByte * bytesOf(one, held)),
        Number.POSITIVE_INFINITY,
      ),
  );
  const { even } = problem;
  return (label, layers) => {
    const overRank = label.rankMs - ranks[layers]!;
    const overPriced = label.rankMs + msPerByte * (label.sumBytes - budgetBytes) - priced[layers]!;
    const overPass = label.forwardMs + label.backwardMs - pass[layers]!;
    for (let l = layers; l <= count; l++) {
      if (overRank + ranks[l]! > limitRank || overPriced + priced[l]! > limitRank) return false;
      if (even !== 0 && l !== even) continue;
      if (overPass + pass[l]! + others[l]! <= limitMs * (1 + SAME)) return true;
    }
    return false;
  };
}
