import { z } from "zod";
import type { Plan, Precision } from "../plan/plan.js";
import { stateRanks } from "../plan/stages.js";
import type { DataParallel, Strategy } from "../plan/strategy.js";
import { check, count, refusal } from "./checked-json.js";

/** The ancestor's `galvatron_config_*.json`: lists are one text of comma-separated numbers, one per layer. */
export interface StrategyConfig {
  readonly pp_deg: number;
  readonly tp_sizes_enc: string;
  readonly tp_consecutive_flags: string;
  readonly dp_types_enc: string;
  readonly use_sp: string;
  readonly checkpoint: string;
  readonly world_size: number;
  readonly global_bsz: number;
  readonly chunks: number;
  readonly pp_division: string;
  readonly pipeline_type: "gpipe" | "pipedream_flush";
  readonly default_dp_type: "ddp" | "zero2";
  readonly vtp: number;
  readonly vsp: number;
  readonly embed_sdp: number;
}

/** What a strategy file does not say. */
export interface StrategyFileContext {
  /** Ranks in all; needed by files before 3.0, which have no `world_size`. */
  readonly ranks?: number;
  /** bfloat16 when left out: only the file's name tells. */
  readonly precision?: Precision;
}

const list = z.string().regex(/^\d{1,7}(,\d{1,7})*$/, "expected numbers between commas");
const bit = z.union([z.literal(0), z.literal(1)]);

const schema = z.object({
  pp_deg: count,
  tp_sizes_enc: list,
  tp_consecutive_flags: list,
  dp_types_enc: list,
  use_sp: list.optional(),
  checkpoint: list.optional(),
  world_size: count.max(1e6).optional(),
  global_bsz: count,
  chunks: count,
  pp_division: list,
  pipeline_type: z.enum(["gpipe", "pipedream_flush"]).default("gpipe"),
  default_dp_type: z.enum(["ddp", "zero2", "zero3"]).default("ddp"),
  vtp: count.default(1),
  vsp: bit.default(0),
  embed_sdp: bit.optional(),
  vocab_sdp: bit.optional(),
  cp_sizes_enc: list.optional(),
  vcp: count.default(1),
  ep_sizes_enc: list.optional(),
  tp_of_ep_sizes_enc: list.optional(),
});

/**
 * Reads a strategy file of any generation as a plan. What the plan cannot say (context or expert parallelism) and what
 * the ancestor would round (a batch that does not divide) is refused.
 * @throws GalvatronError PLAN_INVALID with the path of the wrong field
 */
export function readStrategyConfig(value: unknown, source: string, context: StrategyFileContext = {}): Plan {
  const file = check(schema, value, source, [], "PLAN_INVALID");
  const refuse = (field: string, message: string): never => {
    throw refusal(source, [field], message, "PLAN_INVALID");
  };
  const ranks =
    file.world_size ?? context.ranks ?? refuse("world_size", "missing: say how many ranks the plan is for");
  const stages = file.pp_deg;
  if (ranks % stages !== 0) refuse("pp_deg", `expected a divisor of ${ranks} ranks, got ${stages}`);
  if (context.ranks !== undefined && context.ranks !== ranks) {
    refuse("world_size", `the file is for ${ranks} ranks, not ${context.ranks}`);
  }
  const stageRanks = ranks / stages;
  const tensor = numbers(file.tp_sizes_enc);
  const depth = tensor.length;
  const column = (
    field: "tp_consecutive_flags" | "dp_types_enc" | "use_sp" | "checkpoint",
  ): readonly number[] => {
    const text = file[field];
    if (text === undefined) return Array.from({ length: depth }, () => 0);
    const values = numbers(text);
    if (values.length !== depth)
      refuse(field, `expected ${depth} numbers as in tp_sizes_enc, got ${values.length}`);
    if (values.some((flag) => flag > 1)) refuse(field, "expected 0 or 1 for every layer");
    return values;
  };
  const consecutive = column("tp_consecutive_flags");
  const sharded = column("dp_types_enc");
  const ulysses = column("use_sp");
  const recompute = column("checkpoint");
  for (const field of ["cp_sizes_enc", "ep_sizes_enc"] as const) {
    const text = file[field];
    if (text !== undefined && numbers(text).some((degree) => degree !== 1)) {
      refuse(field, "context and expert parallelism are not offered: expected 1 everywhere");
    }
  }
  if (file.vcp !== 1) refuse("vcp", "context parallelism is not offered: expected 1");
  const stageLayers = numbers(file.pp_division);
  if (stageLayers.length !== stages)
    refuse("pp_division", `expected ${stages} stages, got ${stageLayers.length}`);
  if (stageLayers.some((layers) => layers < 1))
    refuse("pp_division", "expected at least one layer on every stage");
  const held = stageLayers.reduce((sum, layers) => sum + layers, 0);
  if (held !== depth) refuse("pp_division", `the stages hold ${held} layers, tp_sizes_enc has ${depth}`);
  if (file.global_bsz % file.chunks !== 0) {
    refuse("chunks", `expected a divisor of the global batch ${file.global_bsz}, got ${file.chunks}`);
  }
  const microBatch = file.global_bsz / file.chunks;

  const strategy = (
    field: string,
    degree: number,
    sequence: boolean,
    zero3: boolean,
    again: boolean,
    together: boolean,
  ): Strategy => {
    if (degree < 1 || stageRanks % degree !== 0)
      refuse(field, `expected a divisor of ${stageRanks} ranks, got ${degree}`);
    const dataDegree = stageRanks / degree;
    if (microBatch % dataDegree !== 0) {
      refuse(field, `a micro-batch of ${microBatch} samples does not divide over ${dataDegree} data ranks`);
    }
    return {
      tensorDegree: degree,
      tensorSplit: sequence && degree > 1 ? "sequence" : "weights",
      dataDegree,
      // as the ancestor reads its own files: one data rank shares nothing
      dataParallel: dataDegree === 1 ? "ddp" : zero3 ? "zero3" : file.default_dp_type,
      recompute: again,
      placement: together || degree === 1 || dataDegree === 1 ? "consecutive" : "strided",
    };
  };
  return {
    ranks,
    globalBatch: file.global_bsz,
    microBatches: file.chunks,
    schedule: file.pipeline_type === "gpipe" ? "gpipe" : "1f1b",
    precision: context.precision ?? "bfloat16",
    stageLayers,
    layers: tensor.map((degree, i) =>
      strategy(
        "tp_sizes_enc",
        degree,
        ulysses[i] === 1,
        sharded[i] === 1,
        recompute[i] === 1,
        consecutive[i] === 1,
      ),
    ),
    vocabulary: strategy(
      "vtp",
      file.vtp,
      file.vsp === 1,
      (file.embed_sdp ?? file.vocab_sdp) === 1,
      false,
      true,
    ),
  };
}

/**
 * Writes a plan as the ancestor's strategy file (3.0 spelling, which 2.x reads too). The precision stands in the name
 * of the file, see {@link strategyFileName}.
 * @throws GalvatronError PLAN_INVALID with the path of what its format cannot express
 */
export function writeStrategyConfig(plan: Plan): StrategyConfig {
  const refuse = (path: readonly (string | number)[], message: string): never => {
    throw refusal("plan", path, `${message}: the ancestor's format cannot say it`, "PLAN_INVALID");
  };
  /** What "not ZeRO-3" means in this file: one meaning for all layers. */
  let shared: "ddp" | "zero2" | undefined;
  const typeOf = (strategy: Strategy, path: readonly (string | number)[]): number => {
    const kind: DataParallel = strategy.dataParallel;
    if (strategy.dataDegree === 1) {
      if (stateRanks(strategy) > 1 && kind !== "ddp")
        refuse(path, `${kind} over a sequence group without data ranks`);
      return 0;
    }
    if (kind === "zero3") return 1;
    if (kind === "zero1") return refuse(path, "ZeRO-1");
    if (shared !== undefined && shared !== kind) refuse(path, `${kind} beside ${shared}`);
    shared = kind;
    return 0;
  };
  const bits = (values: readonly boolean[]): string => values.map(Number).join();
  const types = plan.layers.map((strategy, i) => typeOf(strategy, ["layers", i, "dataParallel"]));
  const vocabulary = plan.vocabulary;
  const vocabularyType = typeOf(vocabulary, ["vocabulary", "dataParallel"]);
  if (vocabulary.recompute) refuse(["vocabulary", "recompute"], "recompute of embedding and head");
  if (vocabulary.placement === "strided") refuse(["vocabulary", "placement"], "a strided vocabulary group");
  return {
    pp_deg: plan.stageLayers.length,
    tp_sizes_enc: plan.layers.map((strategy) => strategy.tensorDegree).join(),
    tp_consecutive_flags: bits(plan.layers.map((strategy) => strategy.placement === "consecutive")),
    dp_types_enc: types.join(),
    use_sp: bits(plan.layers.map((strategy) => strategy.tensorSplit === "sequence")),
    checkpoint: bits(plan.layers.map((strategy) => strategy.recompute)),
    world_size: plan.ranks,
    global_bsz: plan.globalBatch,
    chunks: plan.microBatches,
    pp_division: plan.stageLayers.join(),
    pipeline_type: plan.schedule === "gpipe" ? "gpipe" : "pipedream_flush",
    default_dp_type: shared ?? "zero2",
    vtp: vocabulary.tensorDegree,
    vsp: Number(vocabulary.tensorSplit === "sequence"),
    embed_sdp: vocabularyType,
  };
}

/** The name under which the ancestor looks for a plan. */
export function strategyFileName(
  model: string,
  nodes: number,
  ranksPerNode: number,
  memoryGB: number,
  precision: Precision,
): string {
  const short = precision === "float32" ? "fp32" : "bf16";
  return `galvatron_config_${model}_${nodes}nodes_${ranksPerNode}gpus_per_node_${memoryGB}GB_${short}.json`;
}

function numbers(text: string): number[] {
  return text.split(",").map(Number);
}
