import { GalvatronError } from "../base/errors.js";
import type { AncestorCase, AncestorInputs } from "./case.js";
import type { ForwardRow } from "./computation-json.js";
import { fitLine, fitParabola, type Line, onLine, onParabola } from "./cost/fits.js";
import type {
  ByDegree,
  FittedProfile,
  KindProfile,
  MessageTimes,
  VocabularyMemory,
} from "./cost/fitted-profile.js";
import type { MessageSample } from "./hardware-json.js";
import type { LayerMemoryRow, MemoryTables, VocabularyMemoryRow } from "./memory-json.js";

/** Points that the ancestor asks for before it lays a line through batches or message sizes. */
const LINE_POINTS: number = 8;

/**
 * Turns profiles into what the formulas read: the ancestor's own fits, for the profile modes and the layer types of a case.
 * @throws GalvatronError PROFILE_INCOMPLETE where a fit has too few points or a table lacks the sequence length
 */
export function fitProfile(search: AncestorCase, inputs: AncestorInputs): FittedProfile {
  const forwards = forwardLines(search, inputs.computation.rows);
  const memory = memoryOf(search, inputs);
  const kinds = search.layers.map(
    (layer, index): KindProfile => ({
      hidden: layer.hidden,
      sequence: layer.sequence,
      layers: layer.layers,
      parameterMB: memory.layers[index]!.parameterMB,
      activationMB: memory.layers[index]!.activationMB,
      recomputeActivationMB: memory.layers[index]!.recomputeActivationMB,
      forward: forwards.kinds[index]!,
    }),
  );
  const ranks = search.nodes * search.gpusPerNode;
  const consecutive = inverse(inputs.allReduce.consecutive);
  const strided = inverse(inputs.allReduce.strided);
  // a group of all ranks lies one way only
  const everyone = consecutive.get(ranks);
  if (everyone !== undefined) strided.set(ranks, everyone);
  return {
    kinds,
    vocabularyForward: forwards.vocabulary,
    vocabularyWhole: memory.whole,
    vocabularyFirst: memory.first,
    vocabularyLast: memory.last,
    consecutiveMsPerMB: consecutive,
    stridedMsPerMB: strided,
    pipelineMsPerMB: inverse(inputs.pipeline),
    gather: messageTables(inputs.messages.allReduce, 0.5),
    allToAll: messageTables(inputs.messages.allToAll, 1),
    overlap: inputs.overlap,
  };
}

function inverse(bandwidths: ReadonlyMap<number, number>): Map<number, number> {
  const perMB = new Map<number, number>();
  for (const [size, bandwidth] of bandwidths) perMB.set(size, 1 / bandwidth);
  return perMB;
}

function messageTables(
  samples: ReadonlyMap<number, readonly MessageSample[]>,
  factor: number,
): ReadonlyMap<number, MessageTimes> {
  const tables = new Map<number, MessageTimes>();
  for (const [ranks, rows] of samples) {
    if (rows.length < LINE_POINTS) {
      throw incomplete(
        `message times of ${ranks} ranks: ${LINE_POINTS} sizes are needed for a line, got ${rows.length}`,
      );
    }
    const exact = new Map<number, number>();
    for (const [sizeMB, timeMs] of rows) exact.set(sizeMB, timeMs * factor);
    tables.set(ranks, { exact, line: fitLine([...exact.keys()], [...exact.values()]) });
  }
  return tables;
}

interface Forwards {
  readonly kinds: readonly Line[];
  readonly vocabulary: Line;
}

function forwardLines(search: AncestorCase, rows: readonly ForwardRow[]): Forwards {
  if (search.timeMode === "static") return staticForwards(search, rows);
  const fitRows = search.timeMode === "batch" ? batchLine : sequenceLine;
  return {
    kinds: search.layers.map((layer, index) =>
      fitRows(
        rows.filter((row) => row.kind === index),
        layer.sequence,
        `layertype_${index}`,
        false,
      ),
    ),
    vocabulary: fitRows(
      rows.filter((row) => row.kind === "other"),
      search.layers[0]!.sequence,
      "layertype_other",
      true,
    ),
  };
}

/** Static mode takes rows in file order, one list for all types, as the ancestor does: type i reads entry i of the list. */
function staticForwards(search: AncestorCase, rows: readonly ForwardRow[]): Forwards {
  const list = search.layers.flatMap((_, index) => rows.filter((row) => row.kind === index));
  const other = rows.find((row) => row.kind === "other");
  if (other === undefined) throw incomplete("layertype_other: missing in the computation profile");
  return {
    kinds: search.layers.map((_, index) => {
      const row = list[index];
      if (row === undefined) throw incomplete(`layertype_${index}: missing in the computation profile`);
      return { perUnit: row.forwardMs, constant: 0 };
    }),
    vocabulary: { perUnit: other.forwardMs, constant: 0 },
  };
}

/** Time of a run over its batch, at the wanted sequence length. */
function batchLine(rows: readonly ForwardRow[], sequence: number, name: string): Line {
  const points = rows.filter(
    (row) => row.batch !== null && (row.sequences === null || row.sequences[0] === sequence),
  );
  if (points.length < LINE_POINTS) {
    throw incomplete(
      `${name}: batch mode needs ${LINE_POINTS} batches at sequence ${sequence}, the computation profile has ${points.length}`,
    );
  }
  const batches = points.map((row) => row.batch!);
  if (new Set(batches).size < 2) throw incomplete(`${name}: batch mode needs different batches`);
  return fitLine(
    batches,
    points.map((row) => row.forwardMs * row.batch!),
  );
}

/** Time of one sample over its sequence: a parabola for layers, a line for the rest, read at the wanted length. */
function sequenceLine(rows: readonly ForwardRow[], sequence: number, name: string, straight: boolean): Line {
  const points = rows.filter((row) => row.batch === 1 && row.sequences?.length === 1);
  const lengths = points.map((row) => row.sequences![0]!);
  const needed = straight ? 2 : 3;
  if (new Set(lengths).size < needed) {
    throw incomplete(
      `${name}: sequence mode needs ${needed} sequence lengths at batch 1, the computation profile has ${new Set(lengths).size}`,
    );
  }
  const times = points.map((row) => row.forwardMs);
  const perSample = straight
    ? onLine(fitLine(lengths, times), sequence)
    : onParabola(fitParabola(lengths, times), sequence);
  if (!(perSample > 0)) {
    throw incomplete(
      `${name}: the fitted time at sequence ${sequence} is not positive, profile nearer to that length`,
    );
  }
  return { perUnit: perSample, constant: 0 };
}

interface Memory {
  readonly layers: readonly LayerMemoryRow[];
  readonly whole: VocabularyMemory;
  readonly first: VocabularyMemory;
  readonly last: VocabularyMemory;
}

const NOWHERE: VocabularyMemory = { statesMB: new Map(), activationMB: new Map() };

function memoryOf(search: AncestorCase, inputs: AncestorInputs): Memory {
  const tables = search.sequenceParallel ? inputs.memory.sequenceParallel : inputs.memory.plain;
  if (tables === null) {
    throw incomplete(
      `the memory profile has no tables ${search.sequenceParallel ? "with" : "without"} sequence parallelism (layertype_0${search.sequenceParallel ? "_sp" : ""})`,
    );
  }
  return search.memoryMode === "static" ? staticMemory(search, tables) : scaledMemory(search, tables);
}

function staticMemory(search: AncestorCase, tables: MemoryTables): Memory {
  const lengths = search.layers.map((layer) => layer.sequence);
  const find = (rows: readonly VocabularyMemoryRow[]): VocabularyMemory | undefined =>
    rows.find((row) => row.sequences === null || row.sequences.join() === lengths.join());
  const whole = find(tables.whole);
  if (whole === undefined)
    throw incomplete(`the memory profile has no other_memory_pp_off at sequence ${lengths.join()}`);
  return {
    layers: search.layers.map((layer, index) => {
      const row = tables.layers[index]?.find(
        (one) => one.sequence === null || one.sequence === layer.sequence,
      );
      if (row === undefined)
        throw incomplete(`the memory profile has no layertype_${index} at sequence ${layer.sequence}`);
      return row;
    }),
    whole,
    first: find(tables.first) ?? NOWHERE,
    last: find(tables.last) ?? NOWHERE,
  };
}

/** Sequence mode: parameters of the shortest profiled sequence, activations of the longest, scaled. */
function scaledMemory(search: AncestorCase, tables: MemoryTables): Memory {
  const layer = search.layers[0]!;
  if (search.layers.length > 1 || !search.sequenceParallel) {
    throw incomplete("sequence mode for memory needs one layer type and sequence parallelism");
  }
  const rows = tables.layers[0]!.filter((row) => row.sequence !== null).sort(
    (a, b) => a.sequence! - b.sequence!,
  );
  const shortest = rows[0];
  const longest = rows.at(-1);
  if (shortest === undefined || longest === undefined) {
    throw incomplete("sequence mode for memory needs tables that name their sequence length");
  }
  const profiled = longest.sequence!;
  const scale = (table: ByDegree): ByDegree => {
    const scaled = new Map<number, number>();
    for (const [degree, value] of table) scaled.set(degree, (value / profiled) * layer.sequence);
    return scaled;
  };
  const find = (list: readonly VocabularyMemoryRow[]): VocabularyMemory => {
    const row = list.find((one) => one.sequences?.length === 1 && one.sequences[0] === profiled);
    return row === undefined ? NOWHERE : { statesMB: row.statesMB, activationMB: scale(row.activationMB) };
  };
  const recompute = longest.recomputeActivationMB;
  return {
    layers: [
      {
        sequence: layer.sequence,
        parameterMB: shortest.parameterMB,
        activationMB: scale(longest.activationMB),
        recomputeActivationMB: recompute === undefined ? undefined : (recompute / profiled) * layer.sequence,
      },
    ],
    whole: find(tables.whole),
    first: find(tables.first),
    last: find(tables.last),
  };
}

function incomplete(message: string): GalvatronError {
  return new GalvatronError("PROFILE_INCOMPLETE", message);
}
