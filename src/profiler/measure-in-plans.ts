import type { Slowdowns } from "../cluster/hardware-profile.js";
import type { ModelProfile, RestSample } from "../model/model-profile.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { Plan, Precision } from "../plan/plan.js";
import type { DataParallel } from "../plan/strategy.js";
import { uniformPlan } from "../plan/uniform.js";
import { verifyPlan } from "../plan/verify-plan.js";
import type { LoweredPlan } from "../program/lower-plan.js";
import type { Instruction, Program } from "../program/program.js";
import { isCollective } from "../program/span-kind.js";
import { compilePlan } from "../runtime/compile-plan.js";
import type { WorkerPool } from "../runtime/coordinator/worker-pool.js";
import { endOf, lastingSteps, type MeasureOptions, measureSteps, startOf } from "./measure-steps.js";
import { lowerQuartile } from "./median.js";
import {
  gathersSeen,
  type LayerTimes,
  type RanProgram,
  reductionsSeen,
  slowdownSeen,
} from "./overlap-seen.js";
import { restCurve, restSeen } from "./rest-seen.js";
import { firstOf, sliced } from "./sliced-model.js";
import { syntheticFeed } from "./synthetic-feed.js";

/** Communicators, libraries, the head's workspace: what a rank holds beside the arena and twice a layer's workspace, generously. */
const BESIDE_BYTES = 8 * 2 ** 30;
/**
 * Enough that most gathers and reductions run beside a layer; odd, so that layers with a gather beside them stand where those
 * without do in the mean.
 */
const LAYERS = 7;
/** Of a tensor group of all ranks, whose collectives stand between graphs. */
const SPLIT_LAYERS = 3;
/** Of pipelines with as many stages as ranks: from one that mostly waits to one that seldom does. */
const REST_MICRO_BATCHES: readonly number[] = [1, 4, 12];

interface InPlansOptions extends MeasureOptions {
  readonly precision: Precision;
  /** Plans that might not fit into so much of a rank's memory are not run. */
  readonly memoryBytesPerRank: number;
}

/**
 * What layers do in whole plans on a device, which none of them does alone: how they and the collectives beside them slow
 * each other down, under ZeRO and ddp, how much longer collectives between them take, and how much faster they are where the
 * device rests in between. Of one device this last, behind an update.
 *
 * @param kind - of the layers that are run, `samples` of them a micro-batch and rank, each as long as `alone` by itself.
 * Gathers are met by layers of `fewestSamples`, if those hide one: what a gather costs a layer is a larger share of a short one.
 */
export async function measureInPlans(
  pool: WorkerPool,
  model: ModelSpec,
  {
    kind,
    samples,
    fewestSamples,
    alone,
  }: {
    readonly kind: string;
    readonly samples: number;
    readonly fewestSamples: number;
    readonly alone: LayerTimes & { workspaceBytes: number };
  },
  options: InPlansOptions,
): Promise<Pick<ModelProfile, "overlap" | "rest" | "betweenGraphs">> {
  const { ranks, device } = pool.options;
  if (device !== "cuda") return {};
  const first = firstOf(model, kind);
  const ran = async (
    count: number,
    choice: Choice,
    change = (plan: Plan): Plan => plan,
  ): Promise<Ran | null> => {
    const spec = sliced(model, kind, count);
    const whole = change(uniformPlan(spec, { ranks, precision: options.precision, ...choice }));
    if (verifyPlan(spec, whole).length > 0) return null;
    return runPlan(pool, spec, whole, {
      ...options,
      besideArenaBytes: 2 * alone.workspaceBytes + BESIDE_BYTES,
    });
  };
  const inKind = (layer: number): boolean => layer >= first && layer < first + LAYERS;
  if (ranks === 1) {
    const found = await ran(LAYERS, { globalBatch: samples });
    return found ? { rest: restCurve(restSeen(found, inKind, alone)) } : {};
  }
  const seen = async (
    dataParallel: DataParallel,
    slowdowns: (found: Ran, aloneMs: (instruction: number) => number) => Slowdowns | null,
    each = samples,
    change?: (plan: Plan) => Plan,
  ): Promise<Slowdowns | null> => {
    const found = await ran(LAYERS, { dataParallel, globalBatch: each * ranks }, change);
    if (!found) return null;
    const aloneMs = await collectivesAlone(pool, found, options, ({ stream }) => stream !== "compute");
    return slowdowns(found, (index) => aloneMs.get(index)!);
  };
  const gathersBeside = (each: number): Promise<Slowdowns | null> =>
    seen(
      "ddp",
      (found, aloneMs) => gathersSeen(found, inKind, aloneMs),
      each,
      (plan) => everyOtherLayerZero3(plan, first),
    );
  const beside = await gathersBeside(fewestSamples);
  const gathers = beside ?? (fewestSamples < samples ? await gathersBeside(samples) : null);
  const reductions = (dataParallel: DataParallel): Promise<Slowdowns | null> | null =>
    gathers && seen(dataParallel, (found, aloneMs) => reductionsSeen(found, inKind, alone, aloneMs, gathers));
  const scatters = await reductions("zero2");
  const allReduces = await reductions("ddp");
  const overlap = gathers && scatters && allReduces && { ...allReduces, gathers, reductions: scatters };
  const split = await ran(SPLIT_LAYERS, { tensorDegree: ranks, globalBatch: samples * ranks });
  const between =
    split &&
    slowdownSeen(split, await collectivesAlone(pool, split, options, ({ stream }) => stream === "compute"));
  const samplesOfRest: RestSample[] = [];
  for (const microBatches of REST_MICRO_BATCHES) {
    const inKind = (layer: number): boolean => layer >= first && layer < first + ranks;
    const found = await ran(ranks, {
      pipelineDegree: ranks,
      microBatches,
      globalBatch: samples * microBatches,
    });
    if (found) samplesOfRest.push(...restSeen(found, inKind, alone));
  }
  const rest = restCurve(samplesOfRest);
  return {
    ...(overlap && { overlap }),
    ...(rest.length > 0 && { rest }),
    ...(between && { betweenGraphs: between }),
  };
}

/**
 * Every other layer is gathered, beside the forward of the one before it. The first is, too: the first gather of a step is not
 * copied where the others are, and has no layer beside it.
 */
export function everyOtherLayerZero3(plan: Plan, first: number): Plan {
  return {
    ...plan,
    layers: plan.layers.map((strategy, layer) =>
      layer >= first && (layer - first) % 2 === 0 ? { ...strategy, dataParallel: "zero3" } : strategy,
    ),
  };
}

type Choice = Pick<
  Parameters<typeof uniformPlan>[1],
  "globalBatch" | "dataParallel" | "tensorDegree" | "pipelineDegree" | "microBatches"
>;

interface Ran extends RanProgram {
  readonly graphs: LoweredPlan["graphs"];
}

async function runPlan(
  pool: WorkerPool,
  model: ModelSpec,
  plan: Plan,
  options: InPlansOptions & { readonly besideArenaBytes: number },
): Promise<Ran | null> {
  const { programs, graphs } = compilePlan(model, plan, { device: pool.options.device });
  const neededBytes = Math.max(...programs.map(({ arenaBytes }) => arenaBytes)) + options.besideArenaBytes;
  if (neededBytes > options.memoryBytesPerRank) return null;
  await pool.load({
    programs,
    graphs,
    seed: 1,
    repeated: true,
    feed: syntheticFeed(model),
    firstStep: 0,
  });
  return { programs, graphs, steps: await lastingSteps(pool, options) };
}

/** Some collectives of the steps with nothing beside them, by their instruction, in ms: one after another on one stream. */
async function collectivesAlone(
  pool: WorkerPool,
  { programs, graphs }: Ran,
  options: MeasureOptions,
  wanted: (instruction: Instruction) => boolean,
): Promise<ReadonlyMap<number, number>> {
  const places = programs[0]!.instructions.flatMap((instruction, index) =>
    isCollective(instruction) && wanted(instruction) ? [index] : [],
  );
  const alone = programs.map(
    (program): Program => ({
      ...program,
      instructions: places.map((index) => ({
        ...program.instructions[index]!,
        stream: "compute",
        waits: [],
      })),
    }),
  );
  const steps = await measureSteps(pool, alone, graphs, options);
  return new Map(
    places.map((index, at) => [
      index,
      lowerQuartile(
        steps.map((ranksOf) => Math.min(...ranksOf.map((step) => endOf(step, at) - startOf(step, at)))),
      ),
    ]),
  );
}
