import { GalvatronError, isGalvatronError } from "../base/errors.js";
import { BYTES_PER_MB } from "../base/units.js";
import type { HardwareProfile } from "../cluster/hardware-profile.js";
import { layerLookup } from "../cost/layer-lookup.js";
import { predict } from "../cost/predict.js";
import { stageWorkspaceBytes } from "../cost/stage-workspace.js";
import type { HeldByWorker, HeldWithGraphs, ModelProfile } from "../model/model-profile.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { Plan } from "../plan/plan.js";
import { stageOfRank } from "../plan/stages.js";
import { verifyPlan } from "../plan/verify-plan.js";
import { communicators } from "../program/communicators.js";
import type { LoweredPlan } from "../program/lower-plan.js";
import { messageBytesByRank } from "../program/message-memory.js";
import { processMemory } from "../program/process-memory.js";
import type { Program } from "../program/program.js";
import { compilePlan, loweredPlan, proven } from "../runtime/compile-plan.js";
import { SHARED_BYTES_PER_RANK } from "../runtime/coordinator/host-pool.js";
import { leastMemories } from "../search/least-memory.js";
import { type SearchInputs, search } from "../search/search.js";
import type { SearchReport } from "../search/search-report.js";
import type { ProfiledMachine } from "./session.js";

/** Everything about a plan that was decided before it runs. */
export interface FoundPlan {
  readonly model: ModelSpec;
  readonly modelProfile: ModelProfile;
  readonly machine: ProfiledMachine;
  readonly report: SearchReport;
  /** What was searched; nothing for a plan made by hand. */
  readonly options: SearchRequest["options"];
  /** Made when first asked for where the machine is elsewhere. */
  readonly lowered: LoweredPlan;
  /** Bytes of each rank's process: the Program's arena, ONNX Runtime's, sessions and instructions, the reserve. */
  readonly memoryBytesByRank: readonly number[];
}

/** What a session of ONNX Runtime keeps on the host beside its constants (least squares over 462 graphs: 75 kB off). */
const HOST_SESSION = { bytes: 40_000, bytesPerPort: 11_700, bytesPerOnnxByte: 7.5 } as const;
/** On devices: a session of ONNX Runtime, beside its arena (measured: 20 graphs more cost 6 to 9 MB). */
const BYTES_PER_GRAPH = BYTES_PER_MB / 2;
/** An instruction, its tensors and the message it came in (measured: 1400 instructions cost 5 to 6 MB). */
const BYTES_PER_INSTRUCTION = 4096;

/** Another rank's memory, opened: eight bytes of page table for every 4 KiB (measured: 0.98 to 1.01 of that, up to 60 GB). */
const BYTES_PER_OPENED_BYTE = 8 / 4096;

/** What a host rank holds to read its samples ahead and to report its steps (measured: docs/benchmarks/memory.md). */
const FEED_BYTES = 1.8 * BYTES_PER_MB;

interface SearchRequest {
  readonly model: ModelSpec;
  readonly modelProfile: ModelProfile;
  readonly machine: ProfiledMachine;
  readonly budgetBytes: number;
  readonly options: Pick<SearchInputs, "globalBatch" | "gradientOrder" | "space">;
}

/** Budgets for the equations are tried from the largest down, each so many times the next. */
const BUDGET_STEP = 1.03;

/**
 * The fastest plan whose compiled Programs stay within the budget. The search prices memory by equations; the
 * Programs know it exactly, so plans for ever smaller budgets are compiled until one fits.
 * `report.smallestBudgetBytes` is what the leanest Programs need, of the leanest plan of every outer choice;
 * `report.lowerBoundMs` is that of the first search, which had the whole budget.
 *
 * @throws GalvatronError NO_FEASIBLE_PLAN
 */
export function searchPlan(request: SearchRequest): FoundPlan {
  const { budgetBytes, machine } = request;
  if (machine.elsewhere) return compiled(request, runSearch(request, budgetBytes));
  const shelf = shelfOf(request);
  shelf.lean ??= leanPlans(request);
  // Without any plan at all the search says why.
  const lean =
    shelf.lean.length > 0 ? shelf.lean : [compiled(request, runSearch(request, request.budgetBytes))];
  const speed = (plan: FoundPlan | null): number => plan?.report.prediction.samplesPerSecond ?? 0;
  let found = lean
    .filter((plan) => fullest(plan) <= budgetBytes)
    .reduce<FoundPlan | null>((a, b) => (speed(b) > speed(a) ? b : a), null);
  let smallestBudgetBytes = Math.min(...lean.map(fullest));
  // The same budgets whatever the given one is, down to the first whose Programs fit: more memory is never slower.
  const { reservedBytes } = machine.hardware;
  const most = (budgetBytes - reservedBytes) / LEAST_SHARE;
  let last = "";
  for (let step = Math.ceil(Math.log(Math.max(1, most)) / Math.log(BUDGET_STEP)); step >= 0; step--) {
    const report = kept(shelf.reports, step, () =>
      searchWithin(request, reservedBytes + BUDGET_STEP ** step),
    );
    if (!report || report.prediction.samplesPerSecond <= speed(found)) break;
    const text = JSON.stringify(report.plan);
    if (text === last) continue;
    last = text;
    const candidate = { ...kept(shelf.plans, text, () => compiled(request, report)), report };
    smallestBudgetBytes = Math.min(smallestBudgetBytes, fullest(candidate));
    if (fullest(candidate) > budgetBytes) continue;
    found = candidate;
    break;
  }
  if (!found)
    throw new GalvatronError(
      "NO_FEASIBLE_PLAN",
      `No plan fits ${Math.floor(budgetBytes / BYTES_PER_MB)} MB a rank. The smallest budget that would do is ${Math.ceil(smallestBudgetBytes / BYTES_PER_MB)} MB.`,
      { smallestBudgetBytes, budgetBytes },
    );
  const bound = searchWithin(request, budgetBytes) ?? found.report;
  const { plan, prediction } = found.report;
  // Bounds compare by the sample: a smaller budget may end at another batch.
  const lowerBoundMs = Math.min(
    prediction.stepMs,
    (bound.lowerBoundMs / bound.plan.globalBatch) * plan.globalBatch,
  );
  const gap = 1 - lowerBoundMs / prediction.stepMs;
  return {
    ...checked(found),
    report: { ...found.report, budgetBytes, smallestBudgetBytes, lowerBoundMs, gap },
  };
}

/** Beyond this many programs compiled, the leanest of them is the leanest that is known. */
const MOST_COMPILED = 32;
/** Programs need at least this share of what the equations say: measured, 0.78 for a single micro-batch. */
const LEAST_SHARE = 0.75;

/**
 * The leanest plan of every outer choice, compiled; among them the one whose Programs need least. The equations order
 * the choices, leanest first, and none is compiled that they put too far above the leanest Program.
 */
function leanPlans(request: SearchRequest): FoundPlan[] {
  const needs = leastMemories(searchInputs(request));
  const { reservedBytes } = request.machine.hardware;
  const plans: FoundPlan[] = [];
  for (const { outer, bytes } of needs.slice(0, MOST_COMPILED)) {
    const least = Math.min(...plans.map(fullest));
    if (reservedBytes + (bytes - reservedBytes) * LEAST_SHARE > least) break;
    const { globalBatch, microBatches, stages, schedule } = outer;
    const space = {
      ...request.options.space,
      microBatches,
      pipelineDegrees: [stages],
      schedules: [schedule],
    };
    const own = { ...request, options: { ...request.options, globalBatch, space } };
    plans.push(compiled(request, runSearch(own, bytes)));
  }
  return plans;
}

/** What searches of one model on one machine share, whatever their budget: one that a slider moves compiles little. */
interface Shelf {
  lean: readonly FoundPlan[] | null;
  /** By the step of their budget. */
  readonly reports: Map<number, SearchReport | null>;
  /** By the plan as text. */
  readonly plans: Map<string, FoundPlan>;
}

/** Programs are large: beyond so many the oldest are forgotten. */
const MOST_KEPT = 100;

const shelves = new WeakMap<ModelProfile, WeakMap<HardwareProfile, Map<string, Shelf>>>();

function shelfOf({ modelProfile, machine, options }: SearchRequest): Shelf {
  const ofModel = kept(shelves, modelProfile, () => new WeakMap<HardwareProfile, Map<string, Shelf>>());
  const ofMachine = kept(ofModel, machine.hardware, () => new Map<string, Shelf>());
  const { globalBatch = null, gradientOrder = null, space = null } = options;
  const key = JSON.stringify([globalBatch, gradientOrder, space]);
  return kept(ofMachine, key, () => ({ lean: null, reports: new Map(), plans: new Map() }));
}

interface Keeper<Key, Value> {
  get(key: Key): Value | undefined;
  has(key: Key): boolean;
  set(key: Key, value: Value): unknown;
}

/** What was made before, or made and kept now. */
function kept<Key, Value>(known: Keeper<Key, Value>, key: Key, make: () => Value): Value {
  if (known.has(key)) return known.get(key)!;
  const value = make();
  if (known instanceof Map && known.size >= MOST_KEPT) known.delete(known.keys().next().value);
  known.set(key, value);
  return value;
}

/** Null where the equations know of no plan. */
function searchWithin(request: SearchRequest, budgetBytes: number): SearchReport | null {
  try {
    return runSearch(request, budgetBytes);
  } catch (error) {
    if (isGalvatronError(error) && error.code === "NO_FEASIBLE_PLAN") return null;
    throw error;
  }
}

function searchInputs({
  model,
  modelProfile,
  machine,
  options,
}: SearchRequest): Omit<SearchInputs, "budgetBytes"> {
  return {
    model,
    modelProfile,
    hardware: machine.hardware,
    ...(options.globalBatch !== undefined && { globalBatch: options.globalBatch }),
    ...(options.gradientOrder && { gradientOrder: options.gradientOrder }),
    ...(options.space && { space: options.space }),
  };
}

function runSearch(request: SearchRequest, budgetBytes: number): SearchReport {
  return search({ ...searchInputs(request), budgetBytes }, () => performance.now());
}

/** So far has a process been above what was predicted of it (docs/benchmarks/memory.md, gpu.md): budgets keep it free. */
const LARGEST_ERROR = { host: 0.02, cuda: 0.01 } as const;

/** The budget that a plan needs. */
function fullest(found: FoundPlan): number {
  const { device } = found.machine.machine.cluster;
  return Math.ceil(Math.max(...found.memoryBytesByRank) * (1 + LARGEST_ERROR[device]));
}

/**
 * A plan that somebody wrote, priced and compiled.
 * @throws GalvatronError PLAN_INVALID when it breaks a rule, or the machine has another number of ranks
 */
export function planByHand(request: {
  readonly model: ModelSpec;
  readonly modelProfile: ModelProfile;
  readonly machine: ProfiledMachine;
  readonly plan: Plan;
}): FoundPlan {
  const { model, modelProfile, machine, plan } = request;
  const problems = verifyPlan(model, plan);
  if (problems.length > 0)
    throw new GalvatronError("PLAN_INVALID", `The plan cannot run: ${problems.join("; ")}.`, {
      problems: problems.length,
    });
  const { nodes, ranksPerNode, name } = machine.machine.cluster;
  if (nodes * ranksPerNode !== plan.ranks)
    throw new GalvatronError(
      "PLAN_INVALID",
      `The plan is for ${plan.ranks} ranks, but ${name} has ${nodes} × ${ranksPerNode} = ${nodes * ranksPerNode}. Give a machine of ${plan.ranks} ranks ("on"), or make the plan for ${nodes * ranksPerNode}.`,
      { planRanks: plan.ranks, nodes, ranksPerNode },
    );
  const prediction = predict(model, plan, modelProfile, machine.hardware);
  const byHand = compiled(request, {
    budgetBytes: machine.machine.cluster.memoryBytesPerRank,
    plan,
    prediction,
    candidates: [],
    lowerBoundMs: 0,
    gap: 1,
    smallestBudgetBytes: Math.max(...prediction.stages.map((stage) => stage.memory.totalBytes)),
    searchMs: 0,
  });
  return machine.elsewhere ? byHand : checked(byHand);
}

const provenBefore = new WeakSet<LoweredPlan>();

/** The plan with Programs that are proven. */
function checked(found: FoundPlan): FoundPlan {
  if (!provenBefore.has(found.lowered)) provenBefore.add(proven(found.model, found.lowered));
  return found;
}

/** What a rank holds on a device beside arena and workspace. */
function heldBytes(
  program: Program,
  reservedBytes: number,
  { machine, modelProfile }: Pick<FoundPlan, "machine" | "modelProfile">,
): number {
  const bytes = machine.hardware.held;
  const base = modelProfile.held;
  if (!bytes || !base)
    return (
      reservedBytes +
      program.graphs.length * BYTES_PER_GRAPH +
      program.instructions.length * BYTES_PER_INSTRUCTION
    );
  const count = communicators(program);
  return (
    unconnectedBytes(base, program.graphs.length, bytes.first) +
    (count.groups + count.transfers > 0 ? bytes.first : 0) +
    count.groups * bytes.group +
    count.rings * bytes.ring +
    count.peers * bytes.peer +
    count.transfers * bytes.transfer +
    // Ranks that share states have arenas of one size.
    count.opened * program.arenaBytes * BYTES_PER_OPENED_BYTE +
    count.stagingBytes
  );
}

/** What a worker with so many graphs holds, no communicator counted: as far from `few` as `many` is, by the graph. */
function unconnectedBytes({ few, many }: HeldByWorker, graphs: number, firstCommunicator: number): number {
  const own = ({ bytes, connected }: HeldWithGraphs): number => bytes - (connected ? firstCommunicator : 0);
  const perGraph = many.graphs > few.graphs ? (own(many) - own(few)) / (many.graphs - few.graphs) : 0;
  return own(few) + Math.max(0, perGraph) * (graphs - few.graphs);
}

function sessionBytes({ graphs }: Program, onnx: LoweredPlan["graphs"]): number {
  const { bytes, bytesPerPort, bytesPerOnnxByte } = HOST_SESSION;
  return graphs.reduce((sum, { id, inputs, outputs }) => {
    const ports = inputs.length + outputs.length;
    return sum + bytes + ports * bytesPerPort + onnx.get(id)!.length * bytesPerOnnxByte;
  }, 0);
}

type Known = Pick<FoundPlan, "model" | "modelProfile" | "machine"> & Partial<Pick<FoundPlan, "options">>;

/** Not proven yet: most plans are only weighed. */
function compiled(known: Known, report: SearchReport): FoundPlan {
  if (known.machine.elsewhere) return priced(known, report);
  const lowered = loweredPlan(known.model, report.plan, { device: known.machine.machine.cluster.device });
  const lookup = layerLookup(known.modelProfile);
  const messageBytes = messageBytesByRank(lowered.programs, SHARED_BYTES_PER_RANK);
  const memoryBytesByRank = lowered.programs.map((program, rank) => {
    const stage = stageOfRank(report.plan, rank);
    const { reservedBytes } = report.prediction.stages[stage]!.memory;
    const runBytes = stageWorkspaceBytes(lookup, known.model, report.plan, stage);
    if (known.machine.machine.cluster.device === "host") {
      const workspace = { runBytes, constantBytes: 0, sessionBytes: sessionBytes(program, lowered.graphs) };
      const parts = processMemory(program, workspace, reservedBytes, messageBytes[rank]!);
      return parts.totalBytes + FEED_BYTES;
    }
    return program.arenaBytes + runBytes + heldBytes(program, reservedBytes, known);
  });
  return {
    model: known.model,
    modelProfile: known.modelProfile,
    machine: known.machine,
    report,
    options: known.options ?? {},
    lowered,
    memoryBytesByRank,
  };
}

/** A plan for a machine that is not here: its memory is what the equations say, its Programs are made when asked for. */
function priced({ model, modelProfile, machine, options = {} }: Known, report: SearchReport): FoundPlan {
  const { plan, prediction } = report;
  const perStage = plan.ranks / plan.stageLayers.length;
  let lowered: LoweredPlan | null = null;
  return {
    model,
    modelProfile,
    machine,
    report,
    options,
    get lowered() {
      lowered ??= compilePlan(model, plan, { device: machine.machine.cluster.device });
      return lowered;
    },
    memoryBytesByRank: Array.from(
      { length: plan.ranks },
      (_, rank) => prediction.stages[Math.floor(rank / perStage)]!.memory.totalBytes,
    ),
  };
}
