import type { OnProgress } from "../base/progress.js";
import { layerGraphs } from "../families/layer-graphs.js";
import type { LayerGraphs } from "../graph/layer-graphs.js";
import {
  EMBEDDING_KIND,
  HEAD_KIND,
  type HeldWithGraphs,
  type LayerSample,
  type ModelProfile,
} from "../model/model-profile.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { Plan, Precision } from "../plan/plan.js";
import { uniformPlan } from "../plan/uniform.js";
import { verifyPlan } from "../plan/verify-plan.js";
import type { LoweredPlan } from "../program/lower-plan.js";
import type { Program } from "../program/program.js";
import { compilePlan } from "../runtime/compile-plan.js";
import type { RankStep, WorkerPool } from "../runtime/coordinator/worker-pool.js";
import { layerJobs, type Split } from "./layer-jobs.js";
import { sizesOf } from "./layer-sizes.js";
import { localProgram, programInGroup } from "./local-program.js";
import { measureInPlans } from "./measure-in-plans.js";
import type { MeasureOptions } from "./measure-steps.js";
import { lastingSteps, slowestMs, usualMs } from "./measure-steps.js";
import { firstOf, sliced } from "./sliced-model.js";
import { syntheticFeed } from "./synthetic-feed.js";

/** Samples per micro-batch and rank that are measured; the cost model interpolates between them. */
export const DEFAULT_SAMPLES: readonly number[] = [1, 2, 4, 8];

export interface ModelMeasureOptions extends MeasureOptions {
  readonly samples: readonly number[];
  readonly precision: Precision;
  /** Of a device; larger plans are not run to see what layers do in them. */
  readonly memoryBytesPerRank: number;
}

const DEFAULT_MEASURE: ModelMeasureOptions = {
  warmup: 1,
  repeats: 3,
  samples: DEFAULT_SAMPLES,
  precision: "float32",
  memoryBytesPerRank: 0,
};
/** A captured step needs one more: the second is the one that is captured. */
const DEVICE_WARMUP = 3;

/** Layer counts whose difference, on a device, is the time of one layer, without what surrounds it. */
const FEW_LAYERS = 1;
const MORE_LAYERS = 3;

/** A host measures for so long, but no more steps than these: others on the machine make its speed swing. */
const HOST_MS = 500;
const MOST_HOST_STEPS = 20;

/** What a device's worker held beside arena and workspace; null where it was not asked. */
interface Held {
  readonly held: HeldWithGraphs | null;
}

/** One Program's sums of times by place, in ms, and what its graphs took inside ONNX Runtime. */
interface PlaceWork {
  readonly forwardMs: number;
  readonly backwardMs: number;
  readonly workspaceBytes: number;
}

/**
 * Measures every kind of layer under every split that this many ranks allow, each rank computing its share at the
 * same time; on a device as many tensor groups as the ranks make, on a host without the collectives between ranks.
 */
export async function profileModel(
  pool: WorkerPool,
  model: ModelSpec,
  device: string,
  onProgress: OnProgress,
  chosen: Partial<ModelMeasureOptions> = {},
): Promise<ModelProfile> {
  const options: ModelMeasureOptions = {
    ...DEFAULT_MEASURE,
    ...(pool.options.device === "cuda" && { warmup: DEVICE_WARMUP }),
    ...chosen,
  };
  const kinds = [...new Set(model.layers)];
  const jobs = layerJobs(pool.options, kinds, options.samples);
  const layers: LayerSample[] = [];
  const held: { few?: HeldWithGraphs; many?: HeldWithGraphs } = {};
  let connected = false;
  for (const [done, { split, samples, kind }] of jobs.entries()) {
    onProgress({ label: labelOf(kind, split, samples), done, total: jobs.length });
    const measured = await measureKind(pool, model, kind, split, samples, options, kind === kinds[0]);
    layers.push(...measured.layers);
    if (measured.held === null) continue;
    connected ||= measured.held.connected;
    const own = { ...measured.held, connected };
    held.few ??= own;
    // What others load stays in the process: only the first that loads more says what more takes.
    if (own.graphs > (held.many ?? held.few).graphs) held.many = own;
  }
  onProgress({ label: `${model.name} in whole plans`, done: jobs.length, total: jobs.length });
  const usual = usualKind(model);
  const samples = Math.max(...options.samples);
  const alone = layers.find((one) => one.kind === usual && one.tensorDegree === 1 && one.samples === samples);
  const fewestSamples = Math.min(...options.samples);
  const inPlans = alone
    ? await measureInPlans(pool, model, { kind: usual, samples, fewestSamples, alone }, options)
    : {};
  onProgress({ label: model.name, done: jobs.length, total: jobs.length });
  const { few, many = few } = held;
  return {
    model,
    precision: options.precision,
    device,
    source: "measured",
    ...(few && many && { held: { few, many } }),
    ...inPlans,
    layers,
  };
}

/** The kind that most layers have. */
function usualKind({ layers }: ModelSpec): string {
  const count = (kind: string): number => layers.filter((one) => one === kind).length;
  return layers.reduce((a, b) => (count(b) > count(a) ? b : a));
}

function labelOf(kind: string, { tensorDegree, tensorSplit }: Split, samples: number): string {
  const split = tensorDegree === 1 ? "" : `, ${tensorSplit} over ${tensorDegree}`;
  return `${kind}, ${samples} sample(s)${split}`;
}

async function measureKind(
  pool: WorkerPool,
  model: ModelSpec,
  kind: string,
  split: Split,
  samples: number,
  options: ModelMeasureOptions,
  withEnds: boolean,
): Promise<{ readonly layers: readonly LayerSample[] } & Held> {
  const first = firstOf(model, kind);
  const slice = (count: number): ModelSpec => sliced(model, kind, count);
  const plan = (spec: ModelSpec): Plan =>
    uniformPlan(spec, {
      ranks: split.tensorDegree,
      globalBatch: samples,
      precision: options.precision,
      ...split,
    });
  // A split that the model does not allow (heads that do not divide) has no cost: no plan may use it.
  if (verifyPlan(slice(FEW_LAYERS), plan(slice(FEW_LAYERS))).length > 0) return { layers: [], held: null };
  // A kind that never follows itself (a merge between stages) cannot be repeated: its own instructions are its time.
  const repeats = model.layers.some((name, layer) => name === kind && model.layers[layer + 1] === kind);
  const measure = (count: number, last: boolean): ReturnType<typeof measureSlice> =>
    measureSlice(pool, slice(count), plan(slice(count)), options, { first, count, last });
  const count = repeats ? MORE_LAYERS : FEW_LAYERS;
  // A host's speed swings from second to second: there, a difference of two runs says less than the layers of one.
  const few = repeats && pool.options.device === "cuda" ? await measure(FEW_LAYERS, false) : null;
  const more = await measure(count, true);
  const perLayer = (ms: number, fewMs = 0): number =>
    Math.max(0, ms - fewMs) / (few ? count - FEW_LAYERS : count);
  const body = {
    ...more.body,
    forwardMs: perLayer(more.body.forwardMs, few?.body.forwardMs),
    backwardMs: perLayer(more.body.backwardMs, few?.body.backwardMs),
  };
  const shape = { ...split, samples };
  const request = (name: string): LayerGraphs =>
    layerGraphs(
      model,
      {
        kind: name,
        strategy: plan(slice(FEW_LAYERS)).vocabulary,
        samples,
        precision: options.precision,
        lossTokens: samples * model.sequence,
      },
      { customOps: pool.options.device === "cuda" },
    );
  const layer: LayerSample = {
    kind,
    ...shape,
    sequence: model.kinds[kind]!.sequence,
    ...body,
    ...sizesOf(request(kind)),
  };
  const { held } = more;
  if (!withEnds) return { layers: [layer], held };
  const end = (name: string, times: PlaceWork): LayerSample => ({
    kind: name,
    ...shape,
    sequence: model.sequence,
    ...times,
    ...sizesOf(request(name)),
  });
  return {
    layers: [layer, end(EMBEDDING_KIND, more.embedding), end(HEAD_KIND, more.head)],
    held,
  };
}

async function measureSlice(
  pool: WorkerPool,
  model: ModelSpec,
  plan: Plan,
  options: MeasureOptions,
  run: { readonly first: number; readonly count: number; readonly last: boolean },
): Promise<{ readonly body: PlaceWork; readonly embedding: PlaceWork; readonly head: PlaceWork } & Held> {
  const { programs, graphs } = compilePlan(model, plan, { device: pool.options.device });
  const original = programs[0]!;
  const onDevice = pool.options.device === "cuda";
  const feed = onDevice ? syntheticFeed(model) : null;
  // A device that waits for others now and then takes less power, and computes faster: tensor groups run as they are,
  // as many as the ranks make, but for reductions beside computing, whose slowdown has its own price.
  const together = onDevice && programs.length > 1;
  const local = Array.from({ length: pool.options.ranks }, (_, rank) =>
    together ? programInGroup(programs, rank) : localProgram(original, rank),
  );
  await pool.load({
    programs: local.map(({ program }) => program),
    graphs,
    seed: 1,
    repeated: true,
    feed,
    firstStep: 0,
  });
  const steps = onDevice ? await lastingSteps(pool, options) : await hostSteps(pool, options);
  const { places } = local[0]!;
  const count = model.layers.length;
  const before = onDevice && run.last ? await stepsBefore(pool, local, graphs, count) : null;
  const beforeHead = before && Math.max(...before.map((step) => step.onnxRuntimeBytes));
  // Without communicators, each of which has its own price.
  const alone = together ? before : steps.flat();
  const place = (inPlace: (layer: number) => boolean): PlaceWork => {
    const phaseMs = (phase: "forward" | "backward"): number => {
      const own = timedIn(original, places, phase, inPlace);
      return onDevice ? slowestMs(steps, own, programs.length) : usualMs(steps, own, programs.length);
    };
    return {
      workspaceBytes:
        beforeHead === null || inPlace(count) ? workspaceBytes(original, steps, inPlace) : beforeHead,
      forwardMs: phaseMs("forward"),
      backwardMs: phaseMs("backward"),
    };
  };
  return {
    body: place((layer) => layer >= run.first && layer < run.first + run.count),
    embedding: place((layer) => layer === -1),
    head: place((layer) => layer === count),
    held: before &&
      alone && {
        graphs: original.graphs.length,
        bytes: Math.max(
          ...alone.map((step) => step.memory.residentBytes - step.arenaBytes - step.onnxRuntimeBytes),
        ),
        connected: together,
      },
  };
}

async function hostSteps(
  pool: WorkerPool,
  options: MeasureOptions,
): Promise<readonly (readonly RankStep[])[]> {
  const steps = (await pool.run(options.warmup + options.repeats)).slice(options.warmup);
  const tookMs = steps.reduce((sum, ranks) => sum + Math.max(...ranks.map((step) => step.stepMs)), 0);
  const wanted = Math.min(MOST_HOST_STEPS, Math.ceil((HOST_MS * steps.length) / tookMs));
  return wanted > steps.length ? [...steps, ...(await pool.run(wanted - steps.length))] : steps;
}

/**
 * A step of the graphs of all layers before `layer` alone: on devices ONNX Runtime's memory is counted for a whole step,
 * in which the head takes most.
 */
async function stepsBefore(
  pool: WorkerPool,
  local: readonly { readonly program: Program }[],
  graphs: LoweredPlan["graphs"],
  layer: number,
): Promise<readonly RankStep[]> {
  const programs = local.map(({ program }) => ({
    ...program,
    instructions: program.instructions.flatMap((it) =>
      it.op === "run" && it.label.layer !== undefined && it.label.layer < layer ? [{ ...it, waits: [] }] : [],
    ),
  }));
  await pool.load({ programs, graphs, seed: null, feed: null, firstStep: 0 });
  return (await pool.run(1)).flat();
}

/** What a layer does beside its collectives. */
const TIMED: ReadonlySet<string> = new Set(["run", "copy", "copyBlock", "accumulate"]);

/**
 * The most that one of a place's graphs takes while it runs, and the constants of all of them. On devices ONNX
 * Runtime's memory is not counted by graph: all of it counts.
 */
function workspaceBytes(
  program: Program,
  steps: readonly (readonly RankStep[])[],
  inPlace: (layer: number) => boolean,
): number {
  const graphs = program.instructions.flatMap((instruction) =>
    instruction.op === "run" && instruction.label.layer !== undefined && inPlace(instruction.label.layer)
      ? [instruction.graph]
      : [],
  );
  const ofStep = ({ graphBytes, onnxRuntimeBytes }: RankStep): number => {
    if (graphBytes.length === 0) return onnxRuntimeBytes;
    const run = Math.max(0, ...graphs.map((graph) => graphBytes[3 * graph]!));
    return [...new Set(graphs)].reduce((sum, graph) => sum + graphBytes[3 * graph + 1]!, run);
  };
  return Math.max(...steps.flat().map(ofStep));
}

/** Where a Program times graphs and element-wise work of a pass. */
function timedIn(
  program: Program,
  places: readonly number[],
  phase: "forward" | "backward",
  inPlace: (layer: number) => boolean,
): readonly number[] {
  return program.instructions.flatMap(({ op, label }, index) =>
    TIMED.has(op) && label.phase === phase && label.layer !== undefined && inPlace(label.layer)
      ? [places[index]!]
      : [],
  );
}
