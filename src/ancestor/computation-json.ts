import { amount, check, checkRecord, positive, refusal } from "./checked-json.js";

/** One processed row of a computation profile: forward milliseconds per sample. */
export interface ForwardRow {
  /** Layer type, or "other" for embedding and head together. */
  readonly kind: number | "other";
  /** Batch of the measured run; null in the oldest files, which do not say. */
  readonly batch: number | null;
  /** Sequence length of every layer type ("other"), or of this one; null in files before version 2.3. */
  readonly sequences: readonly number[] | null;
  /** Milliseconds per layer (or for all the rest) and sample. */
  readonly forwardMs: number;
}

/** Processed rows in the order of the file, which static mode depends on. */
export interface ComputationProfile {
  readonly rows: readonly ForwardRow[];
}

const LIST = String.raw`\[?(\d+(?:[,_] ?\d+)*)\]?`;
const ROW = new RegExp(String.raw`^layertype_(other_\d+|other|\d+)(?:_bsz([1-9]\d{0,8}))?(?:_seq${LIST})?$`);
const RAW = new RegExp(String.raw`^layernum${LIST}_bsz([1-9]\d{0,8})(?:_seq${LIST})?$`);

/**
 * Reads `computation_profiling_*.json` of any generation: 2.0 (`layertype_0` alone), 2.1–2.2 (with a batch),
 * 2.3–2.4 (batch and sequence, lists as `[512,512]`, rest as `layertype_other_0_…`) and 3.0 (lists as `512_512`).
 * Where a file holds only raw runs (`layernum[2]_bsz1_…`), rows are worked out of them as the ancestor's profiler does:
 * the difference of two depths is a layer, what is left of the shallower run is the rest.
 * @throws GalvatronError PROFILE_INVALID
 */
export function readComputationProfile(value: unknown, source: string): ComputationProfile {
  const rows: ForwardRow[] = [];
  const runs = new Map<string, RawRun[]>();
  for (const [key, timeMs] of Object.entries(checkRecord(value, source))) {
    const row = ROW.exec(key);
    if (row !== null) {
      const other = row[1]!.startsWith("other");
      rows.push({
        kind: other ? "other" : Number(row[1]),
        batch: row[2] === undefined ? null : Number(row[2]),
        sequences: row[3] === undefined ? null : numbers(row[3]),
        forwardMs: check(other ? amount : positive, timeMs, source, [key]),
      });
      continue;
    }
    const raw = RAW.exec(key);
    if (raw === null) {
      throw refusal(
        source,
        [key],
        "expected a key such as layertype_0_bsz8_seq2048 or layernum[2]_bsz8_seq2048",
      );
    }
    const run: RawRun = {
      layers: numbers(raw[1]!),
      batch: Number(raw[2]),
      sequences: raw[3] === undefined ? null : numbers(raw[3]),
      timeMs: check(positive, timeMs, source, [key]),
    };
    const group = `${run.batch} ${run.sequences?.join()}`;
    const known = runs.get(group);
    if (known === undefined) runs.set(group, [run]);
    else known.push(run);
  }
  if (rows.length === 0) rows.push(...rowsOfRuns(runs, source));
  return { rows };
}

interface RawRun {
  readonly layers: readonly number[];
  readonly batch: number;
  readonly sequences: readonly number[] | null;
  readonly timeMs: number;
}

function rowsOfRuns(runs: ReadonlyMap<string, readonly RawRun[]>, source: string): ForwardRow[] {
  const rows: ForwardRow[] = [];
  for (const group of runs.values()) {
    const single = group.filter((run) => run.layers.length === 1).sort((a, b) => a.layers[0]! - b.layers[0]!);
    const shallow = single[0];
    const deep = single.at(-1);
    if (shallow === undefined || deep === undefined || deep.layers[0]! === shallow.layers[0]!) continue;
    const { batch, sequences } = shallow;
    const perSample = (deep.timeMs - shallow.timeMs) / batch / (deep.layers[0]! - shallow.layers[0]!);
    const rest = Math.max(0, (shallow.timeMs - shallow.layers[0]! * perSample * batch) / batch);
    if (!(perSample > 0)) {
      throw refusal(
        source,
        [`layernum[${deep.layers[0]}]_bsz${batch}`],
        "more layers ran faster than fewer: profile again",
      );
    }
    rows.push({ kind: 0, batch, sequences, forwardMs: perSample });
    rows.push({ kind: "other", batch, sequences, forwardMs: rest });
  }
  if (rows.length === 0) {
    throw refusal(
      source,
      ["layertype_0_bsz{b}_seq{s}"],
      "missing: no layer time, and no two raw runs of different depth",
    );
  }
  return rows;
}

function numbers(list: string): number[] {
  return list.split(/[,_] ?/).map(Number);
}
