import type { LayerGraphs, ParameterDeclaration } from "../graph/layer-graphs.js";
import { stateRanks } from "../plan/stages.js";
import type { Strategy } from "../plan/strategy.js";
import { EXACT_RUN } from "./program.js";

/** Parameters start at multiples of this many elements: 16 bytes in bfloat16, 32 in float32. */
const PARAMETER_ALIGNMENT = 8;
/** Shards start at multiples of this many elements: 256 bytes in float32, and whole runs of exact squares. */
const SHARD_ALIGNMENT: number = EXACT_RUN;

/** Place of one parameter in a flat vector; `shape` is that of this rank's share. */
interface FlatEntry {
  readonly declaration: ParameterDeclaration;
  readonly offset: number;
  readonly elements: number;
  readonly shape: readonly number[];
}

/**
 * The parameters of a layer as one vector:
 * `[decayed, cut][decayed, whole][not decayed, whole][not decayed, cut][padding]`.
 * "Cut" and "whole" are meant over the tensor group; so what AdamW decays is a prefix, and what the tensor group
 * must still add up is one piece in the middle.
 */
export interface FlatLayout {
  /** `tied` holds the parameters that embedding and head share, alone. */
  readonly part: "main" | "tied";
  readonly entries: readonly FlatEntry[];
  /** Padding included; divides by the ranks that share the states. */
  readonly elements: number;
  readonly decayElements: number;
  /** Elements whose gradients the tensor group adds up; empty unless weights are split. */
  readonly wholeStart: number;
  readonly wholeEnd: number;
}

/** The flat vectors of a layer: `main`, and for an embedding or head with tied parameters `tied`. */
export function flatLayouts(
  graphs: LayerGraphs,
  strategy: Strategy,
  tiedNames: ReadonlySet<string>,
): readonly FlatLayout[] {
  const tied = graphs.parameters.filter(({ name, tiedTo }) => tiedTo !== undefined || tiedNames.has(name));
  const main = graphs.parameters.filter((declaration) => !tied.includes(declaration));
  const layouts: FlatLayout[] = [];
  if (main.length > 0) layouts.push(flatLayout("main", main, graphs, strategy));
  if (tied.length > 0) {
    const byName = [...tied].sort((a, b) => (tiedName(a) < tiedName(b) ? -1 : 1));
    layouts.push(flatLayout("tied", byName, graphs, strategy));
  }
  return layouts;
}

/** The name that both ends of a tie agree on: the embedding's. */
export function tiedName(declaration: ParameterDeclaration): string {
  return declaration.tiedTo ?? declaration.name;
}

function flatLayout(
  part: FlatLayout["part"],
  declarations: readonly ParameterDeclaration[],
  graphs: LayerGraphs,
  strategy: Strategy,
): FlatLayout {
  const splitWeights = strategy.tensorSplit === "weights" && strategy.tensorDegree > 1;
  const cut = (declaration: ParameterDeclaration): boolean => splitWeights && declaration.cut !== null;
  const groups = [
    declarations.filter((one) => one.decay && cut(one)),
    declarations.filter((one) => one.decay && !cut(one)),
    declarations.filter((one) => !one.decay && !cut(one)),
    declarations.filter((one) => !one.decay && cut(one)),
  ];
  const entries: FlatEntry[] = [];
  const ends: number[] = [];
  let offset = 0;
  for (const group of groups) {
    for (const declaration of group) {
      const { shape } = graphs.values[declaration.name]!;
      const elements = product(shape);
      entries.push({ declaration, offset, elements, shape });
      offset = roundUp(offset + elements, PARAMETER_ALIGNMENT);
    }
    ends.push(offset);
  }
  return {
    part,
    entries,
    elements: roundUp(offset, SHARD_ALIGNMENT * stateRanks(strategy)),
    decayElements: ends[1]!,
    wholeStart: splitWeights ? ends[0]! : 0,
    wholeEnd: splitWeights ? ends[2]! : 0,
  };
}

export function product(shape: readonly number[]): number {
  let elements = 1;
  for (const extent of shape) elements *= extent;
  return elements;
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
