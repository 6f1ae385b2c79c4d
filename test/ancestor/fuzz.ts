import { readCase, readInputs } from "../../src/ancestor/case-json.js";
import { parseJson } from "../../src/ancestor/checked-json.js";
import { runCase } from "../../src/ancestor/run-case.js";
import { readStrategyConfig } from "../../src/ancestor/strategy-json.js";
import { isGalvatronError } from "../../src/base/errors.js";

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const sizes = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/** A small, complete set of files: every reader's input, and together a case that can be searched. */
function files(): Record<string, Json> {
  const messages: Record<string, Json> = {};
  for (const op of ["allreduce", "all2all"]) {
    for (const ranks of [2, 4]) {
      for (const size of sizes) messages[`${op}_size_${ranks}_${size}MB_time`] = 0.05 + size * 0.004 * ranks;
    }
  }
  const computation: Record<string, Json> = { "layernum[2]_bsz1_seq512": 12.5 };
  for (let batch = 1; batch <= 9; batch++) {
    computation[`layertype_0_bsz${batch}_seq512`] = 3 + 1 / batch;
    computation[`layertype_other_bsz${batch}_seq512`] = 2 + 3 / batch;
  }
  const vocabulary = (states: number): Json => ({
    "512": {
      model_states: { "1": states, "2": states / 2, "4": states / 4 },
      activation: { "1": 200, "2": 100, "4": 50 },
    },
  });
  return {
    "hw/allreduce_bandwidth.json": {
      allreduce_size_4_consec_1: 150,
      allreduce_size_2_consec_1: 140,
      allreduce_size_2_consec_0: 120,
    },
    "hw/p2p_bandwidth.json": { pp_size_2: 100, pp_size_4: 90 },
    "hw/overlap_coefficient.json": { overlap_coe: 1.12 },
    "hw/sp_time.json": messages,
    "model/computation_profiling.json": computation,
    "model/memory_profiling.json": {
      layertype_0_sp: {
        "512": {
          parameter_size: 300,
          tp_activation_per_bsz_dict: { "1": 200, "2": 100, "4": 50, checkpoint: 16 },
        },
      },
      other_memory_pp_off_sp: vocabulary(1200),
      other_memory_pp_on_first_sp: vocabulary(600),
      other_memory_pp_on_last_sp: vocabulary(600),
      "1_1_4_sp": { "layernum[1]_bsz8_seq512_rank0_ms": 1154 },
    },
    "case.json": {
      id: "fuzz",
      engine: "galvatron-3.0",
      args: {
        hardware_info: { num_nodes: 1, num_gpus_per_node: 4, memory_constraint: 8 },
        parallelism_info: {
          default_dp_type: "zero2",
          pipeline_type: "pipedream_flush",
          async_grad_reduce: true,
          mixed_precision: "bf16",
        },
        common_train_info: { sequence_parallel: true, global_memory_buffer: true },
        profiling_info: { time_profile_mode: "batch", memory_profile_mode: "static" },
        batch_size_info: { min_bsz: 8, max_bsz: 8, bsz_scale: 8, settle_bsz: -1, settle_chunk: 2 },
        search_space_info: { disable_cp: 1, max_tp_deg: 4 },
        options_info: { fine_grained_mode: 1 },
      },
      layerConfigs: [{ hidden_size: 1024, seq_len: 512, layer_num: 6 }],
      inputs: [
        "hw/allreduce_bandwidth.json",
        "hw/p2p_bandwidth.json",
        "hw/overlap_coefficient.json",
        "hw/sp_time.json",
        "model/computation_profiling.json",
        "model/memory_profiling.json",
      ],
    },
    "galvatron_config.json": {
      pp_deg: 2,
      tp_sizes_enc: "1,2,2,1",
      tp_consecutive_flags: "1,1,1,1",
      dp_types_enc: "1,0,0,0",
      use_sp: "0,1,0,0",
      checkpoint: "0,1,0,0",
      world_size: 4,
      global_bsz: 16,
      chunks: 4,
      pp_division: "2,2",
      pipeline_type: "pipedream_flush",
      default_dp_type: "zero2",
      vtp: 2,
      vsp: 0,
      embed_sdp: 1,
    },
  };
}

function generator(seed: number): () => number {
  let state = Math.imul(seed, 2654435761) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Every place in a value. */
function places(value: Json, path: (string | number)[] = []): (string | number)[][] {
  const own = path.length === 0 ? [] : [path];
  if (Array.isArray(value)) return [...own, ...value.flatMap((item, i) => places(item, [...path, i]))];
  if (value !== null && typeof value === "object") {
    return [...own, ...Object.entries(value).flatMap(([key, item]) => places(item, [...path, key]))];
  }
  return own;
}

/** Replacements as JSON text, so that numbers beyond JSON's range can be written too. */
const WRONG: readonly string[] = [
  "0",
  "-1",
  "-0.5",
  "1e308",
  "1e999",
  "-1e999",
  "1e13",
  "0.5",
  "1e-320",
  "null",
  "true",
  "false",
  '""',
  '"abc"',
  '"1"',
  '"NaN"',
  '"-1"',
  '"1,2"',
  "[]",
  "{}",
  "[1]",
  '{"a":1}',
  "NaN",
  "Infinity",
  "99999999999999999999",
];

export interface Outcome {
  readonly file: string;
  readonly change: string;
  readonly verdict: "accepted" | "refused";
  /** Of a refusal. */
  readonly path: string;
  readonly ms: number;
}

/**
 * Breaks one place of one file and reads it the way a search would.
 * @throws Error where anything but a refusal that names a field comes out
 */
export function fuzzOnce(seed: number): Outcome {
  const random = generator(seed);
  const all = files();
  const names = Object.keys(all);
  const file = names[Math.floor(random() * names.length)]!;
  const spots = places(all[file]!);
  const spot = spots[Math.floor(random() * spots.length)]!;
  let text: string;
  let change: string;
  const kind = random();
  if (kind < 0.12) {
    const whole = JSON.stringify(all[file]);
    const end = Math.floor(random() * whole.length);
    text = whole.slice(0, end);
    change = `cut at ${end}`;
  } else {
    const parent = spot.slice(0, -1).reduce<Json>((at, key) => (at as never)[key], all[file]!) as Record<
      string,
      Json
    >;
    const key = String(spot.at(-1));
    if (kind < 0.3) {
      if (Array.isArray(parent)) parent.splice(Number(key), 1);
      else delete parent[key];
      change = `without ${spot.join(".")}`;
      text = JSON.stringify(all[file]);
    } else if (kind < 0.4 && !Array.isArray(parent)) {
      const other = `${key.slice(0, Math.floor(random() * key.length))}${["", "x", "-1", "_0", "9"][Math.floor(random() * 5)]}`;
      parent[other] = parent[key]!;
      if (other !== key) delete parent[key];
      change = `${spot.join(".")} renamed to ${other}`;
      text = JSON.stringify(all[file]);
    } else {
      const wrong = WRONG[Math.floor(random() * WRONG.length)]!;
      parent[key] = "\u0000here";
      text = JSON.stringify(all[file]).replace('"\\u0000here"', wrong);
      change = `${spot.join(".")} = ${wrong}`;
    }
  }
  const read = (path: string): string => (path === file ? text : JSON.stringify(files()[path] ?? null));
  const start = performance.now();
  const outcome = (verdict: Outcome["verdict"], path: string): Outcome => ({
    file,
    change,
    verdict,
    path,
    ms: performance.now() - start,
  });
  try {
    if (file === "galvatron_config.json") {
      readStrategyConfig(parseJson(text, file, "PLAN_INVALID"), file);
    } else {
      const caseJson = parseJson(read("case.json"), "case.json", "ARGUMENT_INVALID");
      readInputs(readCase(caseJson, "case.json"), read);
      for (const which of ["even", "unrestricted"] as const) {
        const result = runCase(caseJson, read, () => performance.now(), which);
        if (result.status === "ok" && !(result.throughput > 0 && Number.isFinite(result.throughput))) {
          throw new Error(`${file}: ${change}: a throughput of ${result.throughput}`);
        }
      }
    }
    return outcome("accepted", "");
  } catch (error) {
    if (!isGalvatronError(error)) throw new Error(`${file}: ${change}: ${String(error)}`, { cause: error });
    const path = String(error.context.path ?? "");
    // a fit that lacks points names the table in its message instead of a field
    if (path === "" && error.code !== "PROFILE_INCOMPLETE")
      throw new Error(`${file}: ${change}: refused without a path`);
    return outcome("refused", path || error.message);
  }
}
