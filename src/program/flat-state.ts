import {
  dataGroup,
  placeOf,
  type RankGrid,
  type RankPlace,
  rankAt,
  tensorGroup,
} from "../cluster/rank-groups.js";
import type { GradientOrder, Plan } from "../plan/plan.js";
import { computeDtype, gradientDtype } from "../plan/precision.js";
import { type FlatLayout, tiedName } from "./flat-layout.js";
import type { ParameterSlice } from "./program.js";
import type { ProgramBuilder } from "./program-builder.js";
import type { Site } from "./sites.js";

/** A flat vector on one rank: its tensors, and how the ranks that share it keep it. */
export interface FlatState {
  readonly layer: number;
  readonly layout: FlatLayout;
  readonly mode: "ddp" | "zero1" | "zero2" | "zero3";
  /** Group of the ranks that share the states; -1 where the rank is alone. */
  readonly shareGroup: number;
  readonly shareRanks: number;
  readonly shareIndex: number;
  /** Tensor group that adds up the gradients of whole parameters; -1 without one. */
  readonly wholeGroup: number;
  readonly tensorIndex: number;
  readonly shardStart: number;
  readonly shardElements: number;
  readonly parameter: number;
  readonly parameterStart: number;
  readonly computeCopy: number;
  readonly computeCopyStart: number;
  readonly moment1: number;
  readonly moment2: number;
  /** What this rank adds gradients up in: the whole vector or its shard. */
  readonly gradient: number;
  readonly gradientDtype: "float32" | "bfloat16";
  /** What ranks reduce: what backward makes, in the canonical order float32. */
  readonly reducedDtype: "float32" | "bfloat16";
  /** The whole vector, until it is reduced: ddp, and ZeRO-1 when it reduces once a step. */
  readonly keepsWholeGradient: boolean;
  /** Of a stage's first part: no forward before it hides its gather, no backward behind it its reduction. */
  readonly isFirst: boolean;
  /** Each rank has the whole vector when a step begins: gathered as soon as it was updated, while others are. */
  readonly wholeBetweenSteps: boolean;
  /** Reduced after every micro-batch onto what those before have left: the canonical order. */
  readonly reducesInOrder: boolean;
  /** What a reduce-scatter writes: this rank's piece of the vector. */
  readonly scattered: number;
  /** The reduced part of `gradient`: what the update reads. */
  readonly ownGradient: number;
  readonly ownGradientStart: number;
  /** Contributions that have been added, and that one step makes in all. */
  contributions: number;
  expected: number;
}

/**
 * Opens the tensors of one flat vector, by its ZeRO mode and precision.
 *
 * @param isFirst - see {@link FlatState.isFirst}
 */
export function openFlat(
  builder: ProgramBuilder,
  plan: Plan,
  site: Site,
  layout: FlatLayout,
  rank: number,
  gradientOrder: GradientOrder,
  isFirst: boolean,
): FlatState {
  const { strategy, grid } = site;
  const share = strategy.tensorSplit === "sequence" ? sampleOrder(grid) : dataGroup(grid, rank);
  const alone = share.length === 1;
  const mode = alone ? "ddp" : strategy.dataParallel;
  const shareIndex = share.indexOf(rank);
  const piece = layout.elements / share.length;
  const sharded = mode !== "ddp";
  const shardElements = sharded ? piece : layout.elements;
  const shardStart = sharded ? shareIndex * piece : 0;
  const name = layout.part === "tied" ? `${site.name}.tied` : site.name;
  const bfloat16 = computeDtype(plan.precision) === "bfloat16";
  const masterIsShard = mode === "zero3" || (bfloat16 && sharded);
  const copyIsShard = mode === "zero3";
  const state = (what: string, elements: number): number =>
    builder.tensor(`${name}.${what}`, "optimizer", "float32", [elements], true);
  const parameter = builder.tensor(
    `${name}.parameter`,
    bfloat16 ? "optimizer" : "parameter",
    "float32",
    [masterIsShard ? shardElements : layout.elements],
    true,
  );
  const computeCopy = bfloat16
    ? builder.tensor(
        `${name}.computeCopy`,
        "parameter",
        "bfloat16",
        [copyIsShard ? shardElements : layout.elements],
        true,
      )
    : -1;
  const moment1 = state("moment1", shardElements);
  const moment2 = state("moment2", shardElements);
  const reducesInOrder = gradientOrder === "canonical" && !alone && plan.microBatches > 1;
  const keepsWholeGradient = mode === "ddp" || (mode === "zero1" && !reducesInOrder);
  const tensorRanks = layout.wholeEnd > layout.wholeStart ? tensorGroup(grid, rank) : [];
  // What is added up is float32; what one micro-batch makes stays as it leaves backward.
  const addsUp = plan.microBatches > 1 || layout.part === "tied" || gradientOrder === "canonical";
  const flat = {
    layer: site.layer,
    layout,
    mode,
    shareGroup: alone ? -1 : builder.group(share),
    shareRanks: share.length,
    shareIndex,
    wholeGroup: tensorRanks.length > 1 ? builder.group(tensorRanks) : -1,
    tensorIndex: placeOf(grid, rank).tensorIndex,
    shardStart,
    shardElements,
    parameter,
    parameterStart: masterIsShard ? shardStart : 0,
    computeCopy,
    computeCopyStart: copyIsShard ? shardStart : 0,
    moment1,
    moment2,
    keepsWholeGradient,
    isFirst,
    wholeBetweenSteps: isFirst && (mode === "zero1" || mode === "zero2"),
    gradientDtype: addsUp ? "float32" : gradientDtype(plan.precision),
    reducedDtype: gradientOrder === "canonical" ? "float32" : gradientDtype(plan.precision),
    reducesInOrder,
    ownGradientStart: shardStart,
    contributions: 0,
    expected: 0,
  } as const;
  return { ...flat, ...openGradient(builder, flat, name) };
}

/** What gradients of a flat are added up in. */
export function openGradient(
  builder: ProgramBuilder,
  flat: Omit<FlatState, "gradient" | "ownGradient" | "scattered">,
  name: string,
): Pick<FlatState, "gradient" | "ownGradient" | "scattered"> {
  const { layout, mode, keepsWholeGradient, shardStart, shardElements, shareRanks, shareIndex } = flat;
  const gradient = builder.tensor(`${name}.gradient`, "gradient", flat.gradientDtype, [
    keepsWholeGradient ? layout.elements : shardElements,
  ]);
  const isPiece = keepsWholeGradient && mode !== "ddp";
  const ownGradient = isPiece
    ? builder.view(gradient, `${name}.gradient.shard`, shardStart, [shardElements])
    : gradient;
  if (mode !== "ddp" || !flat.reducesInOrder) return { gradient, ownGradient, scattered: ownGradient };
  const piece = layout.elements / shareRanks;
  const scattered = builder.view(gradient, `${name}.gradient.piece`, shareIndex * piece, [piece]);
  return { gradient, ownGradient, scattered };
}

/** What this rank updates of a flat, and others gather: the tensor itself, or its part of a whole one. */
export function shardOf(builder: ProgramBuilder, flat: FlatState, what: "parameter" | "computeCopy"): number {
  const tensor = flat[what];
  const { name, shape } = builder.tensors[tensor]!;
  if (shape[0] === flat.shardElements) return tensor;
  return builder.view(tensor, `${name}.shard`, flat.shardStart - flat[`${what}Start`], [flat.shardElements]);
}

/** All ranks of a grid in the order of the samples and positions that they work on. */
function sampleOrder(grid: RankGrid): readonly number[] {
  return Array.from({ length: grid.dataDegree }, (_, data) => rankAt(grid, 0, data)).flatMap((rank) =>
    tensorGroup(grid, rank),
  );
}

/** Which parts of the model a flat vector holds. */
export function flatSlices(site: Site, layout: FlatLayout, place: RankPlace, flat: number): ParameterSlice[] {
  return layout.entries.map(({ declaration, offset, shape }) => {
    const { cut, fullShape, unpaddedRows } = declaration;
    const start = fullShape.map((_, axis) => {
      if (cut === null || axis !== cut.axis) return 0;
      const piece = Math.floor((place.tensorIndex * cut.pieces) / site.strategy.tensorDegree);
      return piece * shape[axis]!;
    });
    const owner = layout.part === "tied" ? "embedding" : site.name;
    return {
      name: `${owner}.${tiedName(declaration)}`,
      fullShape,
      ...(unpaddedRows === undefined ? {} : { unpaddedRows }),
      start,
      extent: shape,
      init: declaration.init,
      flat,
      flatOffset: offset,
    };
  });
}
