import type { LayerSample, ModelProfile } from "../model/model-profile.js";
import { interpolate } from "./interpolate.js";

/** What a layer of one kind costs a rank for one micro-batch, without any collective. */
export interface LayerWork {
  readonly forwardMs: number;
  readonly backwardMs: number;
  readonly activationBytes: number;
  readonly inputBytes: number;
  readonly parameterElements: number;
  readonly workspaceBytes: number;
}

/** Samples of one kind under one split and sequence, by micro-batch size. */
interface SampleRow {
  readonly sequence: number;
  readonly samples: readonly number[];
  readonly rows: readonly LayerSample[];
}

/** A model profile, sorted for lookup. */
export interface LayerLookup {
  readonly rows: ReadonlyMap<string, readonly SampleRow[]>;
  /** Of the profile's times. */
  readonly timeFactor: number;
  /** Answers given before. */
  readonly known: Map<readonly SampleRow[], Map<number, LayerWork>>;
}

const rowKey = (kind: string, tensorDegree: number, tensorSplit: string): string =>
  `${kind}|${tensorDegree}|${tensorDegree === 1 ? "weights" : tensorSplit}`;

export function layerLookup(profile: ModelProfile): LayerLookup {
  const byKey = new Map<string, LayerSample[]>();
  for (const sample of profile.layers) {
    const key = rowKey(sample.kind, sample.tensorDegree, sample.tensorSplit);
    const list = byKey.get(key);
    if (list) list.push(sample);
    else byKey.set(key, [sample]);
  }
  const rows = new Map<string, SampleRow[]>();
  for (const [key, list] of byKey) {
    list.sort((a, b) => a.sequence - b.sequence || a.samples - b.samples);
    const sequences = [...new Set(list.map((sample) => sample.sequence))];
    rows.set(
      key,
      sequences.map((sequence) => {
        const own = list.filter(
          (sample, index) =>
            sample.sequence === sequence &&
            (index === 0 ||
              list[index - 1]!.sequence !== sequence ||
              list[index - 1]!.samples !== sample.samples),
        );
        return { sequence, samples: own.map((sample) => sample.samples), rows: own };
      }),
    );
  }
  return { rows, timeFactor: 1, known: new Map() };
}

const FIELDS = [
  "forwardMs",
  "backwardMs",
  "activationBytes",
  "inputBytes",
  "parameterElements",
  "workspaceBytes",
] as const;

/**
 * Work of one layer for `samples` samples, interpolated over the samples of the profile, and over its sequences
 * where this one was not profiled. `undefined` when this split was never profiled.
 */
export function layerWork(
  lookup: LayerLookup,
  kind: string,
  tensorDegree: number,
  tensorSplit: string,
  samples: number,
  sequence: number,
): LayerWork | undefined {
  const key = rowKey(kind, tensorDegree, tensorSplit);
  const rows = lookup.rows.get(key);
  if (!rows) return undefined;
  let known = lookup.known.get(rows);
  if (!known) {
    known = new Map();
    lookup.known.set(rows, known);
  }
  const place = samples * SEQUENCES + sequence;
  let work = known.get(place);
  if (!work) {
    const measured = interpolatedWork(rows, samples, sequence);
    const { timeFactor } = lookup;
    work = {
      ...measured,
      forwardMs: measured.forwardMs * timeFactor,
      backwardMs: measured.backwardMs * timeFactor,
    };
    known.set(place, work);
  }
  return work;
}

/** Sequences fit below this: samples and sequence make one number. */
const SEQUENCES = 2 ** 26;

function interpolatedWork(rows: readonly SampleRow[], samples: number, sequence: number): LayerWork {
  const exact = rows.find((row) => row.sequence === sequence);
  const over = exact ? [exact] : rows;
  const sequences = over.map((row) => row.sequence);
  const result: Record<(typeof FIELDS)[number], number> = {
    forwardMs: 0,
    backwardMs: 0,
    activationBytes: 0,
    inputBytes: 0,
    parameterElements: 0,
    workspaceBytes: 0,
  };
  for (const field of FIELDS) {
    // Parameters depend on no batch; of other sequences the longest has the most positions.
    if (field === "parameterElements") {
      result[field] = over.at(-1)!.rows[0]![field];
      continue;
    }
    const values = over.map((row) =>
      interpolate(
        row.samples,
        row.rows.map((sample) => sample[field]),
        samples,
      ),
    );
    result[field] = exact ? values[0]! : interpolate(sequences, values, sequence);
  }
  return result;
}
