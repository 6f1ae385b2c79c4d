import { z } from "zod";
import { amount, check, checkRecord, positive, refusal } from "./checked-json.js";

/** Memory of one layer type at one sequence length. */
export interface LayerMemoryRow {
  /** Null in files before version 2.3, which do not say. */
  readonly sequence: number | null;
  readonly parameterMB: number;
  /** Activations of one sample on one rank by split degree. */
  readonly activationMB: ReadonlyMap<number, number>;
  readonly recomputeActivationMB: number | undefined;
}

/** Memory of embedding and head on one stage. */
export interface VocabularyMemoryRow {
  /** Sequence length of every layer type; null where the file does not say. */
  readonly sequences: readonly number[] | null;
  readonly statesMB: ReadonlyMap<number, number>;
  readonly activationMB: ReadonlyMap<number, number>;
}

/** One complete set of tables. */
export interface MemoryTables {
  /** By layer type. */
  readonly layers: readonly (readonly LayerMemoryRow[])[];
  /** Without a pipeline, on the first stage, on the last. */
  readonly whole: readonly VocabularyMemoryRow[];
  readonly first: readonly VocabularyMemoryRow[];
  readonly last: readonly VocabularyMemoryRow[];
}

/** Tables measured without and with Megatron's sequence parallelism; either may be missing. */
export interface MemoryProfile {
  readonly plain: MemoryTables | null;
  readonly sequenceParallel: MemoryTables | null;
}

const DEGREE = /^[1-9]\d{0,6}$/;
const LAYER = /^layertype_(\d{1,3})(_sp)?$/;
const VOCABULARY = /^other_memory_pp_(off|on_first|on_last)(_sp)?$/;
const SEQUENCES = /^\[?(\d+(?:[,_] ?\d+)*)\]?$/;
/** Raw runs: `{pp}_{tp}_{dp}` with suffixes, and their numbers; searches never read them. */
const RAW = /^\d+_\d+_\d+(_[a-z]+)*$/;

const numbersByKey = z.record(z.string(), amount);
const layerSchema = z.object({
  parameter_size: positive,
  tp_activation_per_bsz_dict: z.record(z.string(), positive),
});

/**
 * Reads `memory_profiling_*.json` of any generation that carries processed tables: 2.0–2.2 (no sequence key; embedding
 * and head as single numbers or by degree) and 2.3–3.0 (nested by sequence).
 * @throws GalvatronError PROFILE_INVALID
 */
export function readMemoryProfile(value: unknown, source: string): MemoryProfile {
  const plain = emptyTables();
  const split = emptyTables();
  for (const [key, entry] of Object.entries(checkRecord(value, source))) {
    const layer = LAYER.exec(key);
    const vocabulary = VOCABULARY.exec(key);
    if (layer !== null) {
      const tables = layer[2] === undefined ? plain : split;
      tables.layers[Number(layer[1])] = readLayerRows(entry, source, key);
    } else if (vocabulary !== null) {
      const tables = vocabulary[2] === undefined ? plain : split;
      const rows = readVocabularyRows(entry, source, key);
      if (vocabulary[1] === "off") tables.whole.push(...rows);
      else if (vocabulary[1] === "on_first") tables.first.push(...rows);
      else tables.last.push(...rows);
    } else if (RAW.test(key)) {
      check(numbersByKey, entry, source, [key]);
    } else {
      throw refusal(
        source,
        [key],
        "expected layertype_0, other_memory_pp_off, …_on_first, …_on_last or a run such as 1_2_4",
      );
    }
  }
  const profile: MemoryProfile = {
    plain: finish(plain, "", source),
    sequenceParallel: finish(split, "_sp", source),
  };
  if (profile.plain === null && profile.sequenceParallel === null) {
    throw refusal(source, ["layertype_0"], "missing: this file holds raw runs only, process them first");
  }
  return profile;
}

interface OpenTables {
  readonly layers: LayerMemoryRow[][];
  readonly whole: VocabularyMemoryRow[];
  readonly first: VocabularyMemoryRow[];
  readonly last: VocabularyMemoryRow[];
}

function emptyTables(): OpenTables {
  return { layers: [], whole: [], first: [], last: [] };
}

function finish(tables: OpenTables, suffix: string, source: string): MemoryTables | null {
  const { layers, whole, first, last } = tables;
  if (layers.length === 0 && whole.length === 0 && first.length === 0 && last.length === 0) return null;
  if (layers.length === 0) throw refusal(source, [`layertype_0${suffix}`], "missing");
  for (let kind = 0; kind < layers.length; kind++) {
    if (layers[kind] === undefined) throw refusal(source, [`layertype_${kind}${suffix}`], "missing");
  }
  if (whole.length === 0) throw refusal(source, [`other_memory_pp_off${suffix}`], "missing");
  return tables;
}

function readLayerRows(entry: unknown, source: string, key: string): LayerMemoryRow[] {
  const record = check(z.record(z.string(), z.unknown()), entry, source, [key]);
  if ("parameter_size" in record || "tp_activation_per_bsz_dict" in record) {
    return [readLayerRow(record, source, [key], null)];
  }
  const rows = Object.entries(record).map(([name, row]) => {
    if (!DEGREE.test(name)) throw refusal(source, [key, name], "expected a sequence length such as 2048");
    return readLayerRow(row, source, [key, name], Number(name));
  });
  if (rows.length === 0) throw refusal(source, [key], "expected at least one sequence length");
  return rows;
}

function readLayerRow(
  entry: unknown,
  source: string,
  path: readonly string[],
  sequence: number | null,
): LayerMemoryRow {
  const row = check(layerSchema, entry, source, path);
  const { checkpoint, ...byDegree } = row.tp_activation_per_bsz_dict;
  return {
    sequence,
    parameterMB: row.parameter_size,
    activationMB: degrees(byDegree, source, [...path, "tp_activation_per_bsz_dict"]),
    recomputeActivationMB: checkpoint,
  };
}

function readVocabularyRows(entry: unknown, source: string, key: string): VocabularyMemoryRow[] {
  const record = check(z.record(z.string(), z.unknown()), entry, source, [key]);
  if ("model_states" in record || "activation" in record) {
    return [readVocabularyRow(record, source, [key], null)];
  }
  const rows = Object.entries(record).map(([name, row]) => {
    const list = SEQUENCES.exec(name)?.[1];
    if (list === undefined)
      throw refusal(source, [key, name], "expected a sequence length such as 2048 or [512,512]");
    return readVocabularyRow(row, source, [key, name], list.split(/[,_] ?/).map(Number));
  });
  if (rows.length === 0) throw refusal(source, [key], "expected at least one sequence length");
  return rows;
}

function readVocabularyRow(
  entry: unknown,
  source: string,
  path: readonly string[],
  sequences: readonly number[] | null,
): VocabularyMemoryRow {
  const row = check(z.record(z.string(), z.unknown()), entry, source, path);
  const table = (field: "model_states" | "activation"): ReadonlyMap<number, number> => {
    const cell = row[field];
    const at = [...path, field];
    if (typeof cell === "number") return new Map([[1, check(amount, cell, source, at)]]);
    return degrees(check(numbersByKey, cell, source, at), source, at);
  };
  return { sequences, statesMB: table("model_states"), activationMB: table("activation") };
}

function degrees(
  table: Readonly<Record<string, number>>,
  source: string,
  path: readonly string[],
): ReadonlyMap<number, number> {
  const map = new Map<number, number>();
  for (const [name, value] of Object.entries(table)) {
    if (!DEGREE.test(name)) throw refusal(source, [...path, name], "expected a split degree such as 4");
    map.set(Number(name), value);
  }
  if (map.size === 0) throw refusal(source, path, "expected at least one split degree");
  return map;
}
