import { GalvatronError } from "../base/errors.js";
import type { HardwareProfile } from "../cluster/hardware-profile.js";
import { type CostModel, costModel } from "../cost/cost-model.js";
import { inFlight, pipelineTime, type StageWork } from "../cost/pipeline-time.js";
import { predictWith } from "../cost/predict.js";
import { HEAD_KIND, type ModelProfile } from "../model/model-profile.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { Plan, Schedule } from "../plan/plan.js";
import type { Strategy } from "../plan/strategy.js";
import { divide, type Suffix, suffixStages } from "./division.js";
import { type Label, labelStrategies, rankFrontier } from "./label.js";
import type { Candidate, SearchReport } from "./search-report.js";
import { type ShapeTable, shapeTable, type VocabularyChoice } from "./shape-table.js";
import { divisors, type SpaceOptions } from "./space.js";
import { type StageOption, stageOption } from "./stage-option.js";
import { stageTable } from "./stage-table.js";

/** Samples per step when nobody says how many. */
export const DEFAULT_GLOBAL_BATCH = 8;

/** A range of global batches: `from` to `to`, both counted, in steps of `step` (default: of `from`). */
export interface BatchRange {
  readonly from: number;
  readonly to: number;
  readonly step?: number;
}

export interface SearchInputs {
  readonly model: ModelSpec;
  readonly modelProfile: ModelProfile;
  readonly hardware: HardwareProfile;
  /** Bytes that one rank may use in all, the worker's reserve counted. */
  readonly budgetBytes: number;
  /** Samples per step; the fastest per sample of a range. Default {@link DEFAULT_GLOBAL_BATCH}. */
  readonly globalBatch?: number | BatchRange;
  readonly space?: SpaceOptions;
}

interface Outer {
  readonly globalBatch: number;
  readonly microBatches: number;
  readonly stages: number;
  readonly schedule: Schedule;
}

interface Found {
  readonly outer: Outer;
  readonly stepMs: number;
  readonly vocabulary: Strategy;
  readonly suffix: Suffix;
  readonly shape: ShapeTable;
}

/** Global batches that a search considers, ascending. */
export function batchList(globalBatch: number | BatchRange | undefined): number[] {
  const range = globalBatch ?? DEFAULT_GLOBAL_BATCH;
  const { from, to, step = from } = typeof range === "number" ? { from: range, to: range, step: 1 } : range;
  if (![from, to, step].every((value) => Number.isSafeInteger(value) && value > 0) || to < from) {
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `Expected a global batch as a positive whole number or a range { from ≤ to, step }, but got from ${from} to ${to} in steps of ${step}.`,
      { from, to, step },
    );
  }
  const result: number[] = [];
  for (let batch = from; batch <= to; batch += step) result.push(batch);
  return result;
}

function outerChoices(inputs: SearchInputs): Outer[] {
  const space = inputs.space ?? {};
  const { nodes, ranksPerNode } = inputs.hardware.cluster;
  const ranks = nodes * ranksPerNode;
  const layers = inputs.model.layers.length;
  const allowed = typeof space.microBatches === "number" ? [space.microBatches] : space.microBatches;
  const result: Outer[] = [];
  for (const globalBatch of batchList(inputs.globalBatch)) {
    for (const stages of divisors(ranks)) {
      if (stages > layers || stages > (space.maxPipelineDegree ?? Number.POSITIVE_INFINITY)) continue;
      if (space.pipelineDegrees && !space.pipelineDegrees.includes(stages)) continue;
      if (space.evenStages && layers % stages !== 0) continue;
      for (const microBatches of divisors(globalBatch)) {
        if (allowed && !allowed.includes(microBatches)) continue;
        if (microBatches > (space.maxMicroBatches ?? Number.POSITIVE_INFINITY)) continue;
        for (const schedule of space.schedules ?? (["1f1b", "gpipe"] as const)) {
          // One stage has no order to choose: 1F1B is one forward, one backward; GPipe only holds more.
          if (stages === 1 && schedule === "gpipe" && (space.schedules ?? ["1f1b"]).includes("1f1b"))
            continue;
          result.push({ globalBatch, microBatches, stages, schedule });
        }
      }
    }
  }
  return result;
}

/** Tables shared by all sub-searches of one search. */
interface Tables {
  readonly cost: CostModel;
  readonly inputs: SearchInputs;
  readonly space: SpaceOptions;
  readonly shapes: Map<string, ShapeTable>;
}

function shapeOf(tables: Tables, outer: Outer): ShapeTable {
  const ranks = tables.cost.cluster.nodes * tables.cost.cluster.ranksPerNode;
  const stageRanks = ranks / outer.stages;
  const samples = outer.globalBatch / outer.microBatches;
  const key = `${stageRanks} ${samples}`;
  let shape = tables.shapes.get(key);
  if (!shape) {
    shape = shapeTable(tables.cost, stageRanks, samples, tables.space);
    tables.shapes.set(key, shape);
  }
  return shape;
}

/** Stage tables of one outer choice, made when asked for. */
function stageTables(
  tables: Tables,
  shape: ShapeTable,
  outer: Outer,
  budgetBytes: number,
  frontier: (labels: Label[]) => Label[],
): (stage: number, start: number) => readonly Label[][] {
  const kinds = tables.cost.model.layers;
  const made = new Map<string, Label[][]>();
  return (stage, start) => {
    const held = inFlight(outer.schedule, stage, outer.stages, outer.microBatches);
    const most = kinds.length - start - (outer.stages - 1 - stage);
    const own = kinds.slice(start, start + most);
    // Stages that see the same kinds ahead share a table: with one kind, all starts do.
    const uniformKind = own.every((kind) => kind === own[0]);
    const signature = uniformKind ? own[0]! : `at ${start}`;
    const key = `${signature} ${held} ${stage === 0}`;
    let table = made.get(key);
    if (!table || (uniformKind && table.length < own.length && !tableComplete.has(table))) {
      const whole = uniformKind
        ? new Array<string>(kinds.length - (outer.stages - 1)).fill(own[0]!).slice(0, kinds.length)
        : own;
      table = stageTable(shape, {
        kinds: whole,
        inFlight: held,
        microBatches: outer.microBatches,
        budgetBytes,
        afterEmbedding: stage === 0,
        uniform: tables.space.uniformLayers ?? false,
        frontier,
      });
      tableComplete.add(table);
      made.set(key, table);
    }
    return table;
  };
}
const tableComplete = new WeakSet<Label[][]>();

function works(found: readonly Suffix[], shape: ShapeTable, kinds: readonly string[]): StageWork[] {
  let end = 0;
  return found.map(({ option, relayoutMs, next }) => {
    end += option.layers;
    const send = next ? shape.transfers.get(kinds[end]!)! : 0;
    return {
      forwardMs: option.forwardMs + relayoutMs,
      backwardMs: option.backwardMs + relayoutMs,
      sendMs: send,
      gradientMs: send,
      reduceMs: option.reduceMs,
      afterMs: option.afterMs,
    };
  });
}

interface Solved {
  readonly found: Found | null;
  readonly lowerBoundMs: number;
}

/** Best plan of one outer choice that is faster than `bestMs`, with a bound that none of its plans is below. */
function solve(tables: Tables, outer: Outer, budgetBytes: number, bestMs: number): Solved {
  const shape = shapeOf(tables, outer);
  const kinds = tables.cost.model.layers;
  const tableOf = stageTables(tables, shape, outer, budgetBytes, rankFrontier);
  const even = tables.space.evenStages ? kinds.length / outer.stages : 0;
  let best: Found | null = null;
  let bound = Number.POSITIVE_INFINITY;
  const optionCache = new Map<string, StageOption[]>();
  for (const vocabulary of shape.vocabulary) {
    const options = (stage: number, start: number): readonly StageOption[] => {
      const embedding = stage === 0 ? vocabulary : undefined;
      const head = stage === outer.stages - 1 ? vocabulary : undefined;
      const key = `${stage} ${start}`;
      const kept = embedding || head ? undefined : optionCache.get(key);
      if (kept) return kept;
      const result = bestOptions(
        tables,
        shape,
        outer,
        tableOf,
        stage,
        start,
        even,
        embedding,
        head,
        budgetBytes,
      );
      if (!embedding && !head) optionCache.set(key, result);
      return result;
    };
    const limit = Math.min(bestMs, best?.stepMs ?? Number.POSITIVE_INFINITY);
    const divisions = divide(
      kinds.length,
      outer.stages,
      outer.microBatches,
      options,
      (layer, from, to) => shape.relayouts.get(kinds[layer]!)![from]![to]!,
      limit,
    );
    for (const suffix of divisions) {
      bound = Math.min(bound, suffix.worstMs);
      const { stepMs } = pipelineTime(
        outer.schedule,
        outer.microBatches,
        works(suffixStages(suffix), shape, kinds),
      );
      if (stepMs < Math.min(bestMs, best?.stepMs ?? Number.POSITIVE_INFINITY))
        best = { outer, stepMs, vocabulary: vocabulary.strategy, suffix, shape };
    }
  }
  return { found: best, lowerBoundMs: Math.min(bound, bestMs) };
}

function bestOptions(
  tables: Tables,
  shape: ShapeTable,
  outer: Outer,
  tableOf: (stage: number, start: number) => readonly Label[][],
  stage: number,
  start: number,
  even: number,
  embedding: VocabularyChoice | undefined,
  head: VocabularyChoice | undefined,
  budgetBytes: number,
): StageOption[] {
  const kinds = tables.cost.model.layers;
  const table = tableOf(stage, start);
  const held = inFlight(outer.schedule, stage, outer.stages, outer.microBatches);
  const most = kinds.length - start - (outer.stages - 1 - stage);
  const least = head ? most : 1;
  const result: StageOption[] = [];
  for (let layers = even || least; layers <= (even || most); layers++) {
    const best = new Map<number, StageOption>();
    for (const label of table[layers - 1] ?? []) {
      const option = stageOption(
        shape,
        label,
        layers,
        held,
        outer.microBatches,
        kinds[start]!,
        HEAD_KIND,
        embedding,
        head,
      );
      if (option.bytes > budgetBytes) continue;
      const key = option.first * 4096 + option.last;
      const other = best.get(key);
      if (!other || option.rankMs < other.rankMs) best.set(key, option);
    }
    result.push(...best.values());
  }
  return result;
}

function planOf(found: Found, cost: CostModel): Plan {
  const { outer, shape } = found;
  const stages = suffixStages(found.suffix);
  const layers: Strategy[] = [];
  for (const { option } of stages) {
    for (const index of labelStrategies(option.label))
      layers.push(shape.choices.get(cost.model.layers[layers.length]!)![index]!.strategy);
  }
  return {
    ranks: cost.cluster.nodes * cost.cluster.ranksPerNode,
    globalBatch: outer.globalBatch,
    microBatches: outer.microBatches,
    schedule: outer.schedule,
    precision: cost.precision,
    stageLayers: stages.map(({ option }) => option.layers),
    layers,
    vocabulary: found.vocabulary,
  };
}

/** Smallest bytes per rank under which one outer choice has a plan; infinite when it has none at all. */
function smallestBytes(tables: Tables, outer: Outer): number {
  const shape = shapeOf(tables, outer);
  const kinds = tables.cost.model.layers;
  const leanest = (labels: Label[]): Label[] => {
    const kept: Label[] = [];
    labels.sort((a, b) => a.sumBytes - b.sumBytes || a.peakBytes - b.peakBytes);
    let peak = Number.POSITIVE_INFINITY;
    for (const label of labels) {
      if (label.peakBytes >= peak) continue;
      peak = label.peakBytes;
      kept.push(label);
    }
    return kept;
  };
  const tableOf = stageTables(tables, shape, outer, Number.POSITIVE_INFINITY, leanest);
  const even = tables.space.evenStages ? kinds.length / outer.stages : 0;
  let smallest = Number.POSITIVE_INFINITY;
  for (const vocabulary of shape.vocabulary) {
    let suffix = new Map<number, number>([[kinds.length, 0]]);
    for (let stage = outer.stages - 1; stage >= 0; stage--) {
      const next = new Map<number, number>();
      const held = inFlight(outer.schedule, stage, outer.stages, outer.microBatches);
      for (let start = stage; start <= (stage === 0 ? 0 : kinds.length - (outer.stages - stage)); start++) {
        const table = tableOf(stage, start);
        for (let layers = even || 1; layers <= (even || table.length); layers++) {
          const rest = suffix.get(start + layers);
          if (rest === undefined) continue;
          for (const label of table[layers - 1] ?? []) {
            const { bytes } = stageOption(
              shape,
              label,
              layers,
              held,
              outer.microBatches,
              kinds[start]!,
              HEAD_KIND,
              stage === 0 ? vocabulary : undefined,
              stage === outer.stages - 1 ? vocabulary : undefined,
            );
            const most = Math.max(bytes, rest);
            if (most < (next.get(start) ?? Number.POSITIVE_INFINITY)) next.set(start, most);
          }
        }
      }
      suffix = next;
    }
    smallest = Math.min(smallest, suffix.get(0) ?? Number.POSITIVE_INFINITY);
  }
  return smallest;
}

/**
 * Finds the fastest plan (most samples per second) whose every rank stays inside the budget.
 *
 * @throws ARGUMENT_INVALID when the batch or the space cannot be read
 * @throws NO_FEASIBLE_PLAN when no plan of the space fits; `smallestBudgetBytes` in the context says what would
 */
export function search(inputs: SearchInputs, now: () => number = () => 0): SearchReport {
  const startMs = now();
  const cost = costModel(inputs.model, inputs.modelProfile, inputs.hardware);
  const tables: Tables = { cost, inputs, space: inputs.space ?? {}, shapes: new Map() };
  const reserved = inputs.hardware.reservedBytes;
  const candidates: Candidate[] = [];
  const outers = outerChoices(inputs);
  let smallest = Number.POSITIVE_INFINITY;
  let best: Found | null = null;
  let lowerBound = Number.POSITIVE_INFINITY;
  for (const outer of outers) {
    const bytes = smallestBytes(tables, outer) + reserved;
    smallest = Math.min(smallest, bytes);
    const blank = { ...outer, stepMs: null, samplesPerSecond: null, memoryBytes: null };
    if (bytes === Number.POSITIVE_INFINITY) {
      candidates.push({
        ...blank,
        status: "invalid",
        reason: `no strategy of the space divides micro-batches of ${outer.globalBatch / outer.microBatches} samples over the ranks of a stage`,
      });
      continue;
    }
    if (bytes > inputs.budgetBytes) {
      candidates.push({
        ...blank,
        memoryBytes: bytes,
        status: "no-plan-fits",
        reason: `needs at least ${Math.ceil(bytes / 2 ** 20)} MB on its fullest rank`,
      });
      continue;
    }
    const scale = outer.globalBatch;
    const solved = solve(tables, outer, inputs.budgetBytes - reserved, Number.POSITIVE_INFINITY);
    lowerBound = Math.min(lowerBound, solved.lowerBoundMs / scale);
    if (!solved.found) {
      candidates.push({ ...blank, status: "no-plan-fits", reason: "no plan fits the budget" });
      continue;
    }
    const { stepMs } = solved.found;
    const memory = Math.max(...suffixStages(solved.found.suffix).map(({ option }) => option.bytes));
    candidates.push({
      ...outer,
      status: "ok",
      reason: "",
      stepMs,
      samplesPerSecond: (scale * 1000) / stepMs,
      memoryBytes: memory + reserved,
    });
    if (!best || stepMs / scale < best.stepMs / best.outer.globalBatch) best = solved.found;
  }
  if (!best) {
    const known = Number.isFinite(smallest);
    throw new GalvatronError(
      "NO_FEASIBLE_PLAN",
      known
        ? `No plan fits ${Math.floor(inputs.budgetBytes / 2 ** 20)} MB a rank. The smallest budget that would do is ${Math.ceil(smallest / 2 ** 20)} MB.`
        : "No plan of this space can run at all: no degrees of it divide batch, heads, sequence and layers.",
      {
        budgetBytes: inputs.budgetBytes,
        ...(known ? { smallestBudgetBytes: Math.ceil(smallest) } : {}),
        candidates: candidates.length,
      },
    );
  }
  const plan = planOf(best, cost);
  const prediction = predictWith(cost, plan);
  const bound = lowerBound * plan.globalBatch;
  return {
    budgetBytes: inputs.budgetBytes,
    plan,
    prediction,
    candidates,
    lowerBoundMs: Math.min(bound, prediction.stepMs),
    gap: Math.max(0, (prediction.stepMs - bound) / prediction.stepMs),
    smallestBudgetBytes: Math.ceil(smallest),
    searchMs: now() - startMs,
  };
}
