import { criticalPath } from "../cost/critical-path.js";
import { inFlight, pipelineTime, type StageWork } from "../cost/pipeline-time.js";
import { HEAD_KIND } from "../model/model-profile.js";
import { divide, type Suffix, suffixStages } from "./division.js";
import { fullFrontier, fullStandIns, type Label, rankFrontier, rankStandIns } from "./label.js";
import type { OuterChoice } from "./outer-choice.js";
import type { RelaxedDivision } from "./relaxed-division.js";
import type { SchedulePath } from "./schedule-bound.js";
import type { ShapeTable, VocabularyChoice } from "./shape-table.js";
import { optionFrontier, type StageOption, stageOption } from "./stage-option.js";
import { stageTable } from "./stage-table.js";
import { standIns } from "./stand-ins.js";
import { leastValue, prefix, SAME, worthAlone, worthInPipeline } from "./worth.js";

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

/** How far above the bound to look for a plan, round after round: a near bound keeps tables small. */
const WIDENINGS: readonly number[] = [0.002, 0.01, 0.04, 0.15, 0.5, 2];
/** Critical paths that may be learnt before a gap is accepted. */
const MOST_PATHS = 24;

/** The stage works of a division, for the schedule's recurrence. */
export function suffixWorks(suffix: Suffix): StageWork[] {
  return suffixStages(suffix).map(({ option, sendMs, gradientMs }) => ({
    forwardMs: option.forwardMs,
    backwardMs: option.backwardMs,
    leadMs: option.leadMs,
    sendMs,
    gradientMs,
    reduceMs: option.reduceMs,
    afterMs: option.afterMs,
  }));
}

/** A relaxed division by whole-number floors, which are worked out up to some step time only. */
export interface ExactDivision {
  readonly relaxed: RelaxedDivision;
  readonly withinMs: number;
}

/** Best plan of one sub-search that is faster than `capMs`, with a bound that none of its plans is below. */
export function solveCandidate(
  problem: Problem,
  bound: number,
  relaxed: RelaxedDivision | null,
  exact: ExactDivision | null,
  capMs: number,
): Solved {
  if (!(bound < capMs)) return { best: null, lowerBoundMs: bound };
  let provenMs = bound;
  for (const widening of [...WIDENINGS, Number.POSITIVE_INFINITY]) {
    const limitMs = Math.min(capMs, bound * (1 + widening));
    const nearest = exact && limitMs <= exact.withinMs ? exact.relaxed : relaxed;
    const solved = attempt(problem, nearest, limitMs, false);
    if (solved.overgrown) {
      // Ranking by one weighted time keeps tables small; the plan may miss the optimum by what the bound tells.
      const ranked = attempt(
        problem,
        exact && capMs <= exact.withinMs ? exact.relaxed : relaxed,
        capMs,
        true,
      );
      return { best: ranked.best, lowerBoundMs: Math.min(provenMs, capMs) };
    }
    if (solved.best || limitMs >= capMs) return solved;
    provenMs = limitMs;
  }
  return { best: null, lowerBoundMs: capMs };
}

interface Attempt extends Solved {
  /** A table grew too large, so that nothing is proven. */
  readonly overgrown: boolean;
}

function attempt(
  problem: Problem,
  relaxed: RelaxedDivision | null,
  limitMs: number,
  ranked: boolean,
): Attempt {
  const { shape, outer, kinds } = problem;
  const { stages, microBatches: m, schedule } = outer;
  const leastForward = new Map(
    [...shape.choices].map(([kind, list]) => [kind, leastValue(list, (one) => one.forwardMs)]),
  );
  const leastBackward = new Map(
    [...shape.choices].map(([kind, list]) => [kind, leastValue(list, (one) => one.backwardMs - one.leadMs)]),
  );
  const forwardSums = prefix(kinds, (kind) => leastForward.get(kind)!);
  const backwardSums = prefix(kinds, (kind) => leastBackward.get(kind)!);
  const width = kinds.length + 1;
  const byRank = ranked || stages === 1;
  const tableOf = stageTables(problem, relaxed, limitMs, byRank);
  const middle = new Map<string, readonly StageOption[]>();
  let best: Found | null = null;
  let lowerBoundMs = limitMs;
  let overgrown = false;
  for (const vocabulary of shape.vocabulary) {
    if (overgrown) break;
    const ends = new Map<string, readonly StageOption[]>();
    const options = (stage: number, start: number): readonly StageOption[] => {
      if (overgrown) return [];
      if (relaxed && relaxed.fullestMs[stage * width + start]! > limitMs * (1 + SAME)) return [];
      const outerStage = stage === 0 || stage === stages - 1;
      const cache = outerStage ? ends : middle;
      const { table, signature } = tableOf(stage, start);
      const key = `${stage} ${signature}`;
      let list = cache.get(key);
      if (!list) {
        if (table === null) {
          overgrown = true;
          return [];
        }
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
  return { best, lowerBoundMs: Math.min(lowerBoundMs, best ? best.stepMs : limitMs), overgrown };
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

/** Labels that a table may make in all before a sub-search gives up its exactness and keeps its bound. */
const LABEL_WORK = 2_000_000;
const FEWEST_LABELS = 300;
const MOST_LABELS = 5000;
/** Labels kept on one layer when a pipeline's stages are ranked by one weighted time. */
const RANKED_LABELS = 60;

function mostLabelsOf(shape: ShapeTable, stages: number, byRank: boolean, layers: number): number {
  if (stages === 1) return Number.POSITIVE_INFINITY;
  if (byRank) return RANKED_LABELS;
  let choices = 1;
  for (const list of shape.choices.values()) choices = Math.max(choices, list.length);
  return Math.min(MOST_LABELS, Math.max(FEWEST_LABELS, LABEL_WORK / (choices * layers)));
}

interface SignedTable {
  /** `null` where it would have grown too large. */
  readonly table: readonly Label[][] | null;
  readonly signature: string;
}

/** Stage tables of one attempt, made when asked for. Stages that see the same kinds ahead share one. */
function stageTables(
  problem: Problem,
  relaxed: RelaxedDivision | null,
  limitMs: number,
  byRank: boolean,
): (stage: number, start: number) => SignedTable {
  const { shape, outer, kinds, budgetBytes } = problem;
  const { stages, microBatches: m, schedule } = outer;
  const made = new Map<string, SignedTable>();
  // Kinds ahead of a layer are alike up to here.
  const runEnd = new Int32Array(kinds.length);
  for (let i = kinds.length - 1; i >= 0; i--)
    runEnd[i] = i + 1 < kinds.length && kinds[i + 1] === kinds[i] ? runEnd[i + 1]! : i + 1;
  // Starts of a stage that see the same kinds as this one, as far as a stage may reach.
  const runStarts = (stage: number, from: number): number[] => {
    const starts: number[] = [];
    for (let start = stage; start <= kinds.length - (stages - stage); start++)
      if (kinds[start] === kinds[from]) starts.push(start);
    return starts;
  };
  return (stage, start) => {
    const held = inFlight(schedule, stage, stages, m);
    const most = kinds.length - start - (stages - 1 - stage);
    const alike = runEnd[start]! >= start + most;
    const signature = alike ? kinds[start]! : `from ${start}`;
    const key = `${signature} ${stage}`;
    const known = made.get(key);
    if (known) return known;
    // The first start that asks is the earliest of its stage, so no later one needs more layers.
    const ahead = alike
      ? new Array<string>(kinds.length - (stages - 1)).fill(kinds[start]!)
      : kinds.slice(start, start + most);
    const starts = alike ? runStarts(stage, start) : [start];
    const table = stageTable(shape, {
      kinds: ahead,
      inFlight: held,
      microBatches: m,
      budgetBytes,
      afterEmbedding: stage === 0,
      frontier: byRank ? rankFrontier : fullFrontier,
      continuing: (labels, nextKind) => {
        const standIn = standIns(shape, stages === 1 ? "embedding" : "stage", nextKind, kinds[0]!);
        return byRank ? rankStandIns(labels, standIn, m) : fullStandIns(labels, standIn);
      },
      mostLabels: mostLabelsOf(shape, stages, byRank, ahead.length),
      thins: byRank,
      worth:
        stages === 1
          ? worthAlone(problem, limitMs)
          : worthInPipeline(problem, relaxed!, stage, starts, ahead, limitMs),
    });
    const result = { table, signature };
    made.set(key, result);
    return result;
  };
}
