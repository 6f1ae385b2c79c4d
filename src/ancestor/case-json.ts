import { z } from "zod";
import type { AncestorCase, AncestorInputs } from "./case.js";
import { check, count, parseJson, refusal } from "./checked-json.js";
import { readComputationProfile } from "./computation-json.js";
import {
  readAllReduceBandwidths,
  readMessageSamples,
  readOverlap,
  readPipelineBandwidths,
} from "./hardware-json.js";
import { readMemoryProfile } from "./memory-json.js";

const flag = z.union([z.boolean(), z.literal(0), z.literal(1)]).transform(Boolean);
const degree = count.default(8);
/** -1 leaves the choice to the search. */
const settled = z.number().int().min(-1).max(1e9).default(-1);

const schema = z.object({
  id: z.string().default("case"),
  engine: z.literal("galvatron-3.0").default("galvatron-3.0"),
  args: z.strictObject({
    hardware_info: z
      .strictObject({
        num_nodes: count.max(1e6).default(1),
        num_gpus_per_node: count.max(1e6).default(8),
        memory_constraint: count.max(1e6).default(24),
      })
      .prefault({}),
    parallelism_info: z
      .object({
        default_dp_type: z.enum(["ddp", "zero2", "zero3"]).default("ddp"),
        pipeline_type: z.enum(["gpipe", "pipedream_flush"]).default("gpipe"),
        async_grad_reduce: flag.default(true),
        mixed_precision: z.enum(["fp32", "fp16", "bf16"]).default("bf16"),
      })
      .prefault({}),
    common_train_info: z
      .object({ sequence_parallel: flag.default(true), global_memory_buffer: flag.default(true) })
      .prefault({}),
    profiling_info: z
      .object({
        time_profile_mode: z.enum(["static", "batch", "sequence"]).default("static"),
        memory_profile_mode: z.enum(["static", "sequence"]).default("static"),
      })
      .prefault({}),
    batch_size_info: z
      .strictObject({
        recommend_min_bsz: z.unknown().optional(),
        min_bsz: count.default(8),
        max_bsz: count.default(8),
        bsz_scale: count.default(8),
        settle_bsz: settled,
        settle_chunk: settled,
      })
      .prefault({}),
    search_space_info: z
      .strictObject({
        disable_dp: flag.default(false),
        disable_tp: flag.default(false),
        disable_cp: flag.default(true),
        disable_sp: flag.default(false),
        disable_embedding_lmhead_tp: flag.default(false),
        disable_embedding_lmhead_sp: flag.default(false),
        disable_pp: flag.default(false),
        disable_ckpt: flag.default(false),
        disable_fsdp: flag.default(false),
        max_tp_deg: degree,
        max_pp_deg: degree,
        max_sp_deg: degree,
        max_cp_deg: degree,
      })
      .prefault({}),
    options_info: z.object({ fine_grained_mode: flag.default(true) }).prefault({}),
    model_info: z.unknown().optional(),
    debug_info: z.object({ debug_costmodel_coe: z.number().positive().max(1e6).default(1) }).prefault({}),
  }),
  layerConfigs: z
    .array(z.object({ hidden_size: count.max(1e7), seq_len: count.max(1e8), layer_num: count.max(4096) }))
    .min(1)
    .max(64),
  inputs: z.array(z.string().min(1)).min(1),
});

/**
 * Reads a case file: the ancestor's options nested as in its YAML, the layer types and the profile files.
 * Options that change no search (`recommend_min_bsz`, `parallel_search`, `worker`, paths) are passed over; options of
 * the space, the batch and the hardware that it does not have are refused.
 * @throws GalvatronError ARGUMENT_INVALID with the path of the wrong field
 */
export function readCase(value: unknown, source: string): AncestorCase {
  const file = check(schema, value, source, [], "ARGUMENT_INVALID");
  const { hardware_info, parallelism_info, common_train_info, profiling_info } = file.args;
  const { batch_size_info, search_space_info, options_info, debug_info } = file.args;
  return {
    id: file.id,
    layers: file.layerConfigs.map((row) => ({
      hidden: row.hidden_size,
      sequence: row.seq_len,
      layers: row.layer_num,
    })),
    nodes: hardware_info.num_nodes,
    gpusPerNode: hardware_info.num_gpus_per_node,
    memoryGB: hardware_info.memory_constraint,
    defaultDataParallel: parallelism_info.default_dp_type,
    pipeline: parallelism_info.pipeline_type,
    asyncGradReduce: parallelism_info.async_grad_reduce,
    precision: parallelism_info.mixed_precision,
    sequenceParallel: common_train_info.sequence_parallel,
    globalMemoryBuffer: common_train_info.global_memory_buffer,
    timeMode: profiling_info.time_profile_mode,
    memoryMode: profiling_info.memory_profile_mode,
    batches: batches(batch_size_info, source),
    microBatches: settledChunks(batch_size_info.settle_chunk, source),
    disable: {
      data: search_space_info.disable_dp,
      tensor: search_space_info.disable_tp,
      context: search_space_info.disable_cp,
      sequence: search_space_info.disable_sp,
      pipeline: search_space_info.disable_pp,
      recompute: search_space_info.disable_ckpt,
      zero3: search_space_info.disable_fsdp,
      vocabularyTensor: search_space_info.disable_embedding_lmhead_tp,
      vocabularySequence: search_space_info.disable_embedding_lmhead_sp,
    },
    maxTensor: search_space_info.max_tp_deg,
    maxPipeline: search_space_info.max_pp_deg,
    maxSequence: search_space_info.max_sp_deg,
    maxContext: search_space_info.max_cp_deg,
    fineGrained: options_info.fine_grained_mode,
    timeFactor: debug_info.debug_costmodel_coe,
    inputs: file.inputs,
  };
}

function settledChunks(chunks: number, source: string): number | null {
  if (chunks === 0) {
    throw refusal(
      source,
      ["args", "batch_size_info", "settle_chunk"],
      "expected at least 1, or -1",
      "ARGUMENT_INVALID",
    );
  }
  return chunks === -1 ? null : chunks;
}

/** Searches of more batches than this are a mistake of units. */
const MOST_BATCHES: number = 4096;

function batches(
  info: { settle_bsz: number; min_bsz: number; max_bsz: number; bsz_scale: number },
  source: string,
): number[] {
  if (info.settle_bsz > 0) return [info.settle_bsz];
  const least = Math.max(info.min_bsz, info.bsz_scale);
  const found: number[] = [];
  if ((info.max_bsz - least) / info.bsz_scale > MOST_BATCHES) {
    throw refusal(
      source,
      ["args", "batch_size_info", "max_bsz"],
      "expected at most 4,096 batches in the range",
      "ARGUMENT_INVALID",
    );
  }
  for (let batch = least; batch <= info.max_bsz; batch += info.bsz_scale) found.push(batch);
  if (found.length === 0) {
    throw refusal(
      source,
      ["args", "batch_size_info", "max_bsz"],
      `expected at least ${least}`,
      "ARGUMENT_INVALID",
    );
  }
  return found;
}

/**
 * Reads the profiles that a case names. `readText` gives the text of a path below the inputs folder.
 * @throws GalvatronError PROFILE_INVALID with file and path of the wrong field; ARGUMENT_INVALID where a file is not named
 */
export function readInputs(search: AncestorCase, readText: (path: string) => string): AncestorInputs {
  const read = <Result>(prefix: string, reader: (value: unknown, source: string) => Result): Result => {
    const path = search.inputs.find((name) => (name.split("/").at(-1) ?? "").startsWith(prefix));
    if (path === undefined) {
      throw refusal(search.id, ["inputs"], `expected a file named ${prefix}…`, "ARGUMENT_INVALID");
    }
    return reader(parseJson(readText(path), path), path);
  };
  return {
    allReduce: read("allreduce_bandwidth", readAllReduceBandwidths),
    pipeline: read("p2p_bandwidth", readPipelineBandwidths),
    overlap: read("overlap_coefficient", readOverlap),
    messages: read("sp_time", readMessageSamples),
    computation: read("computation_profiling", readComputationProfile),
    memory: read("memory_profiling", readMemoryProfile),
  };
}
