import { inFlight } from "../cost/pipeline-time.js";
import { HEAD_KIND } from "../model/model-profile.js";
import { costFrontier, costStandIns, type Label, rankFrontier, rankStandIns } from "./label.js";
import type { PathRoom } from "./path-room.js";
import type { RelaxedDivision } from "./relaxed-division.js";
import { pathWeights, type SchedulePath } from "./schedule-bound.js";
import type { Addend, VocabularyChoice } from "./shape-table.js";
import type { Problem, Relaxation } from "./solve-candidate.js";
import { optionFrontier, type StageOption, stageOption } from "./stage-option.js";
import {
  AFTER_WEIGHTS,
  BACKWARD_WEIGHTS,
  FORWARD_WEIGHTS,
  REDUCE_WEIGHTS,
  stageTable,
  type Weights,
} from "./stage-table.js";
import { standIns } from "./stand-ins.js";
import {
  prefix,
  SAME,
  type StageCostName,
  stageRoom,
  stageWeights,
  type Worth,
  worthAlone,
  worthInPipeline,
} from "./worth.js";

/** What labels of a stage are told apart by. */
export interface StageOrder {
  /** What labels are ranked by. */
  readonly rank: Weights;
  /** Every cost that counts; the rank is one of them, or grows with all of them. */
  readonly costs: readonly Weights[];
  /** Costs that a label tells without doubt, whatever it stands for. */
  readonly values: ReadonlyMap<StageCostName, Weights>;
  /** What paths leave to the stage; what it adds to them is told by the costs too. */
  readonly paths: readonly { readonly weights: Weights; readonly room: PathRoom }[];
}

/** Every time by itself. */
export function everyTime(problem: Problem, stage: number): StageOrder {
  const { alone, pass, critical, passReduced, criticalReduced } = stageWeights(problem, stage);
  const values = new Map<StageCostName, Weights>([
    ["alone", alone],
    ["pass", pass],
    ["critical", critical],
  ]);
  if (stage === 0) values.set("passReduced", passReduced).set("criticalReduced", criticalReduced);
  return {
    rank: alone,
    costs: [FORWARD_WEIGHTS, BACKWARD_WEIGHTS, REDUCE_WEIGHTS, AFTER_WEIGHTS],
    values,
    paths: [],
  };
}

/**
 * The critical time, one micro-batch, the reduction, and what paths that were learnt add up. The first stage's reduction
 * follows everything, so there it is part of the other costs; that of a later one is none where the backwards before it
 * always take longer.
 */
export function criticalTime(
  problem: Problem,
  relaxed: RelaxedDivision,
  limitMs: number,
  stage: number,
  learnt: readonly SchedulePath[],
  rooms: readonly { readonly path: SchedulePath; readonly room: PathRoom }[],
): StageOrder {
  const { alone, pass, critical, ...reduced } = stageWeights(problem, stage);
  const { passReduced, tripsReduced, criticalReduced } = reduced;
  const values = new Map<StageCostName, Weights>([
    ["pass", pass],
    ["critical", critical],
  ]);
  let costs = [critical, pass];
  if (stage > 0) {
    if (!reductionHides(problem, relaxed, limitMs, stage)) costs.push(REDUCE_WEIGHTS);
  } else {
    values.clear();
    values.set("criticalReduced", criticalReduced).set("passReduced", passReduced);
    // A label that is no worse in these is no worse in what lies between them.
    values.set("tripsReduced", tripsReduced);
    costs = [criticalReduced, passReduced, { ...alone, after: 0 }];
  }
  for (const path of learnt) {
    const own = pathWeights(path, stage);
    if (!costs.some((cost) => proportional(cost, own))) costs.push(own);
  }
  const withRooms = rooms.map(({ path, room }) => ({ weights: pathWeights(path, stage), room }));
  return { rank: costs[0]!, costs, values, paths: withRooms };
}

/** Whether any reduction of a stage ends before its last micro-batch has passed the stages before it, within a limit. */
function reductionHides(
  { shape, outer, kinds }: Problem,
  relaxed: RelaxedDivision,
  limitMs: number,
  stage: number,
): boolean {
  const slack = limitMs * (1 + SAME);
  const width = kinds.length + 1;
  const last = kinds.length - (outer.stages - stage);
  const link = relaxed.linkMs.reduce((a, b) => Math.max(a, b), 0);
  const most = (value: (one: Addend) => number): ReadonlyMap<string, number> =>
    new Map(
      [...shape.choices].map(([kind, list]) => [kind, list.reduce((a, one) => Math.max(a, value(one)), 0)]),
    );
  const hidden = most((one) => one.reduceMs);
  const alone = most((one) => one.reduceAloneMs);
  const sums = prefix(kinds, (kind) => hidden.get(kind)!);
  const head = shape.vocabulary.reduce((a, one) => Math.max(a, one.head.reduceMs), 0);
  for (let start = stage; start <= last; start++) {
    const here = stage * width + start;
    const before = relaxed.beforeMs[here]!;
    if (relaxed.fullestMs[here]! > slack || before + relaxed.throughMs[here]! > slack) continue;
    const end = kinds.length - (outer.stages - 1 - stage);
    const reduceMs = sums[end]! - sums[start + 1]! + alone.get(kinds[start]!)! + head;
    if (reduceMs > before - stage * link) return false;
  }
  return true;
}

function proportional(a: Weights, b: Weights): boolean {
  const ratio = b.backward / a.backward;
  if (!(ratio > 0) || ratio === Number.POSITIVE_INFINITY) return false;
  return (
    Math.abs(a.forward * ratio - b.forward) < 1e-9 &&
    a.reduce * ratio === b.reduce &&
    a.after * ratio === b.after
  );
}

/** Labels kept on one layer of a sample. */
const SAMPLED_LABELS = 24;

interface SignedTable {
  /** `null` where it would have grown too large. */
  readonly table: readonly Label[][] | null;
  /** Lengths that a stage can have; none for all. */
  readonly lengths: readonly number[] | null;
  readonly signature: string;
}

/** Ways to fill a stage from a layer on. */
export type Options = (stage: number, start: number) => readonly StageOption[];

/** Ways to fill the stages of one attempt, made when asked for, by vocabulary choice; and whether a table grew too large. */
export function stageOptions(
  problem: Problem,
  relaxation: Relaxation | null,
  limitMs: number,
  orderOf: (stage: number) => StageOrder,
  mostLabels: number | "sample",
): { readonly optionsWith: (vocabulary: VocabularyChoice) => Options; readonly overgrown: () => boolean } {
  const { outer, kinds } = problem;
  const { stages } = outer;
  const width = kinds.length + 1;
  const tableOf = stageTables(problem, relaxation, limitMs, orderOf, mostLabels);
  const middle = new Map<string, readonly StageOption[]>();
  let overgrown = false;
  return {
    overgrown: () => overgrown,
    optionsWith: (vocabulary) => {
      const ends = new Map<string, readonly StageOption[]>();
      return (stage, start) => {
        if (overgrown) return [];
        if (relaxation && relaxation.relaxed.fullestMs[stage * width + start]! > limitMs * (1 + SAME))
          return [];
        const cache = stage === 0 || stage === stages - 1 ? ends : middle;
        const { table, lengths, signature } = tableOf(stage, start);
        const key = `${stage} ${signature}`;
        let list = cache.get(key);
        if (!list) {
          if (table === null) {
            overgrown = true;
            return [];
          }
          list = optionsOf(problem, table, lengths, stage, start, vocabulary, orderOf(stage).costs);
          cache.set(key, list);
        }
        return list;
      };
    },
  };
}

function optionsOf(
  problem: Problem,
  table: readonly Label[][],
  lengths: readonly number[] | null,
  stage: number,
  start: number,
  vocabulary: VocabularyChoice,
  costs: readonly Weights[],
): readonly StageOption[] {
  const { shape, outer, kinds, budgetBytes, even } = problem;
  const { stages, microBatches, schedule } = outer;
  const ends = {
    inFlight: inFlight(schedule, stage, stages, microBatches),
    microBatches,
    firstKind: kinds[start]!,
    headKind: HEAD_KIND,
    embedding: stage === 0 ? vocabulary : undefined,
    head: stage === stages - 1 ? vocabulary : undefined,
  };
  const result: StageOption[] = [];
  for (const [index, labels] of table.entries()) {
    if (even !== 0 && index + 1 !== even) continue;
    if (lengths ? !lengths.includes(index + 1) : index + 1 !== kinds.length) continue;
    for (const label of labels) {
      const option = stageOption(shape, label, index + 1, ends);
      if (option.bytes <= budgetBytes) result.push(option);
    }
  }
  return optionFrontier(result, costs);
}

/** Stage tables of one attempt. Stages that see the same kinds ahead share one. */
function stageTables(
  problem: Problem,
  relaxation: Relaxation | null,
  limitMs: number,
  orderOf: (stage: number) => StageOrder,
  mostLabels: number | "sample",
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
    const most = kinds.length - start - (stages - 1 - stage);
    const alike = runEnd[start]! >= start + most;
    const signature = alike ? kinds[start]! : `from ${start}`;
    const key = `${signature} ${stage}`;
    const known = made.get(key);
    if (known) return known;
    // The first start that asks is the earliest of its stage, so no later one needs more layers.
    let ahead = alike
      ? new Array<string>(kinds.length - (stages - 1)).fill(kinds[start]!)
      : kinds.slice(start, start + most);
    const { rank, costs, values, paths } = orderOf(stage);
    let worth: Worth;
    let lengths: readonly number[] | null = null;
    if (relaxation) {
      const { relaxed, floors } = relaxation;
      const starts = alike ? runStarts(stage, start) : [start];
      const room = stageRoom(problem, relaxed, floors, stage, starts, ahead.length, limitMs);
      ({ lengths } = room);
      ahead = ahead.slice(0, lengths.at(-1) ?? 0);
      const most: Record<string, Float64Array> = { ...room.most };
      const told = new Map<string, Weights>(values);
      for (const [index, path] of paths.entries()) {
        most[`path ${index}`] = path.room(stage, starts, ahead.length);
        told.set(`path ${index}`, path.weights);
      }
      worth = worthInPipeline(problem, { lengths, most }, stage, ahead, told);
    } else worth = worthAlone(problem, limitMs);
    const front = stage === 0 ? "embedding" : "stage";
    const single = stages === 1;
    const table = stageTable(shape, {
      kinds: ahead,
      inFlight: inFlight(schedule, stage, stages, m),
      weights: rank,
      budgetBytes,
      stage,
      frontier: single ? rankFrontier : (labels) => costFrontier(labels, costs),
      continuing: (labels, nextKind) => {
        const standIn = standIns(shape, front, nextKind, kinds[start]!);
        return single ? rankStandIns(labels, standIn, rank) : costStandIns(labels, standIn, costs);
      },
      mostLabels: mostLabels === "sample" ? SAMPLED_LABELS : single ? Number.POSITIVE_INFINITY : mostLabels,
      thins: mostLabels === "sample",
      worth,
    });
    const result = { table, lengths, signature };
    made.set(key, result);
    return result;
  };
}
