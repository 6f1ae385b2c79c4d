import { inFlight } from "../cost/pipeline-time.js";
import { HEAD_KIND } from "../model/model-profile.js";
import {
  criticalFrontier,
  criticalStandIns,
  fullFrontier,
  fullStandIns,
  type Label,
  rankFrontier,
  rankStandIns,
  type StandIn,
} from "./label.js";
import type { VocabularyChoice } from "./shape-table.js";
import type { Problem, Relaxation } from "./solve-candidate.js";
import {
  criticalTime,
  everyTime,
  type OptionOrder,
  optionFrontier,
  type StageOption,
  stageOption,
} from "./stage-option.js";
import { aloneWeights, stageTable, type Weights, weighted } from "./stage-table.js";
import { standIns } from "./stand-ins.js";
import {
  SAME,
  type StageCostName,
  stageRoom,
  stageWeights,
  type Worth,
  worthAlone,
  worthInPipeline,
} from "./worth.js";

/**
 * What labels of a stage are told apart by: every time, one cost where there is but one stage; in a pipeline the
 * critical time and one micro-batch; or a sample of those.
 */
export type TableOrder = "every" | "critical" | "thinned";

interface LabelOrder {
  readonly weights: Weights;
  readonly frontier: (labels: Label[]) => Label[];
  readonly standing: (labels: Label[], standIn: StandIn) => Label[];
  readonly options: OptionOrder;
  /** Costs that a label tells without doubt, whatever it stands for. */
  readonly values: ReadonlyMap<StageCostName, (label: Label) => number>;
}

const passOf = ({ forwardMs, backwardMs }: Label): number => forwardMs + backwardMs;

function labelOrder(problem: Problem, stage: number, order: TableOrder): LabelOrder {
  const { stages, microBatches } = problem.outer;
  const alone = aloneWeights(microBatches);
  if (stages === 1)
    return {
      weights: alone,
      frontier: rankFrontier,
      standing: (labels, standIn) => rankStandIns(labels, standIn, alone),
      options: everyTime,
      values: new Map(),
    };
  const { critical } = stageWeights(problem, stage);
  if (order === "every")
    return {
      weights: alone,
      frontier: fullFrontier,
      standing: fullStandIns,
      options: everyTime,
      values: new Map<StageCostName, (label: Label) => number>([
        ["alone", ({ rankMs }) => rankMs],
        ["pass", passOf],
        ["critical", (label) => weighted(critical, label)],
      ]),
    };
  return {
    weights: critical,
    frontier: criticalFrontier,
    standing: (labels, standIn) => criticalStandIns(labels, standIn, critical),
    options: criticalTime(critical),
    values: new Map<StageCostName, (label: Label) => number>([
      ["pass", passOf],
      ["critical", ({ rankMs }) => rankMs],
    ]),
  };
}

/** Labels that a table may make in all before a sub-search gives up its exactness and keeps its bound. */
const LABEL_WORK = 40_000_000;
const FEWEST_LABELS = 300;
const MOST_LABELS = 20_000;
/** Labels kept on one layer of a sample. */
const THINNED_LABELS = 60;

function mostLabelsOf(problem: Problem, order: TableOrder, layers: number): number {
  const { shape, outer } = problem;
  if (outer.stages === 1) return Number.POSITIVE_INFINITY;
  if (order === "thinned") return THINNED_LABELS;
  let choices = 1;
  for (const list of shape.choices.values()) choices = Math.max(choices, list.length);
  return Math.min(MOST_LABELS, Math.max(FEWEST_LABELS, LABEL_WORK / (choices * layers)));
}

interface SignedTable {
  /** `null` where it would have grown too large. */
  readonly table: readonly Label[][] | null;
  readonly signature: string;
}

/** Ways to fill a stage from a layer on. */
export type Options = (stage: number, start: number) => readonly StageOption[];

/** Ways to fill the stages of one attempt, made when asked for, by vocabulary choice; and whether a table grew too large. */
export function stageOptions(
  problem: Problem,
  relaxation: Relaxation | null,
  limitMs: number,
  order: TableOrder,
): { readonly optionsWith: (vocabulary: VocabularyChoice) => Options; readonly overgrown: () => boolean } {
  const { outer, kinds } = problem;
  const { stages } = outer;
  const width = kinds.length + 1;
  const tableOf = stageTables(problem, relaxation, limitMs, order);
  const middle = new Map<string, readonly StageOption[]>();
  let overgrown = false;
  return {
    overgrown: () => overgrown,
    optionsWith: (vocabulary) => {
      const ends = new Map<string, readonly StageOption[]>();
      return (stage, start) => {
        if (overgrown) return [];
        if (relaxation && relaxation.relaxed.fullestMs[stage * width + start]! > limitMs * (1 + SAME)) return [];
        const cache = stage === 0 || stage === stages - 1 ? ends : middle;
        const { table, signature } = tableOf(stage, start);
        const key = `${stage} ${signature}`;
        let list = cache.get(key);
        if (!list) {
          if (table === null) {
            overgrown = true;
            return [];
          }
          list = optionsOf(problem, table, stage, start, vocabulary, labelOrder(problem, stage, order).options);
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
  stage: number,
  start: number,
  vocabulary: VocabularyChoice,
  order: OptionOrder,
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
    if (stages === 1 && index + 1 !== kinds.length) continue;
    for (const label of labels) {
      const option = stageOption(shape, label, index + 1, ends);
      if (option.bytes <= budgetBytes) result.push(option);
    }
  }
  return optionFrontier(result, order);
}

/** Stage tables of one attempt. Stages that see the same kinds ahead share one. */
function stageTables(
  problem: Problem,
  relaxation: Relaxation | null,
  limitMs: number,
  order: TableOrder,
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
    const { weights, frontier, standing, values } = labelOrder(problem, stage, order);
    let worth: Worth;
    if (relaxation) {
      const { relaxed, floors } = relaxation;
      const starts = alike ? runStarts(stage, start) : [start];
      const room = stageRoom(problem, relaxed, floors, stage, starts, ahead.length, limitMs);
      ahead = ahead.slice(0, room.lengths.at(-1) ?? 0);
      worth = worthInPipeline(problem, room, stage, ahead, values);
    } else worth = worthAlone(problem, limitMs);
    const front = stage === 0 ? "embedding" : "stage";
    const table = stageTable(shape, {
      kinds: ahead,
      inFlight: inFlight(schedule, stage, stages, m),
      weights,
      budgetBytes,
      afterEmbedding: stage === 0,
      frontier,
      continuing: (labels, nextKind) => standing(labels, standIns(shape, front, nextKind, kinds[start]!)),
      mostLabels: mostLabelsOf(problem, order, ahead.length),
      thins: order === "thinned",
      worth,
    });
    const result = { table, signature };
    made.set(key, result);
    return result;
  };
}
