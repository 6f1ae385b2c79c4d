import {
  dataGroup,
  placeOf,
  type RankGrid,
  type RankPlace,
  rankAt,
  tensorGroup,
} from "../cluster/rank-groups.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { Plan } from "../plan/plan.js";
import { ranksPerStage, samplesPerRank, stageOfRank } from "../plan/stages.js";
import { type FlatLayout, tiedName } from "./flat-layout.js";
import type { ConstantTensor, InputPlace, ParameterSlice } from "./program.js";
import { ProgramBuilder } from "./program-builder.js";
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
  /** The whole vector, until it is reduced: ddp, and ZeRO-1 when it reduces once a step. */
  readonly keepsWholeGradient: boolean;
  /** The reduced part of `gradient`: what the update reads. */
  readonly ownGradient: number;
  readonly ownGradientStart: number;
  /** Contributions that have been added, and that one step makes in all. */
  contributions: number;
  expected: number;
}

/** A site on one rank. */
export interface SiteState {
  readonly site: Site;
  readonly place: RankPlace;
  readonly tensorGroup: number;
  readonly flats: readonly FlatState[];
  /** Parameter name → its flat and entry. */
  readonly parameterFlat: ReadonlyMap<string, { readonly flat: FlatState; readonly entry: number }>;
  /** For each of `flats`, by entry: the gradient value of the parameter there. */
  readonly entryGradients: readonly (readonly (string | undefined)[])[];
  /** Value name → tensor: constants. */
  readonly constants: ReadonlyMap<string, number>;
  /** Value name → tensors by micro-batch: what the data loader writes. */
  readonly data: ReadonlyMap<string, readonly number[]>;
  /** Values that forward leaves for backward. */
  readonly saved: ReadonlySet<string>;
}

/**
 * Order in which a gradient's contributions are added up. `deferred`: each rank adds up its own micro-batches, the
 * sums are reduced when that is cheapest (ddp, ZeRO-1: once a step). `canonical`: in the order of the samples,
 * whoever holds them, so that plans that differ only in data parallel, ZeRO, stages and recompute give the same bits;
 * reduces after every micro-batch.
 */
export type GradientOrder = "deferred" | "canonical";

/** Everything about one rank while its program is written. */
export interface RankState {
  readonly model: ModelSpec;
  readonly plan: Plan;
  readonly rank: number;
  readonly stage: number;
  readonly builder: ProgramBuilder;
  readonly sites: readonly SiteState[];
  readonly flats: readonly FlatState[];
  /**
   * In the canonical order, what the head adds to parameters that it shares with an embedding on the same stage:
   * summed apart, as if it were on another stage.
   */
  readonly tiedApart: FlatState | undefined;
  readonly gradientOrder: GradientOrder;
  readonly slices: readonly ParameterSlice[];
  readonly constants: readonly ConstantTensor[];
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  readonly inputPlaces: Readonly<Record<string, InputPlace>>;
  readonly hyper: number;
  readonly clip: number;
  readonly loss: number;
  /** Tensors on their way to another stream or rank: they keep their address until the visit after this one ends. */
  readonly lingering: number[];
}

/** Lays out what a rank keeps across steps: states, inputs, constants. */
export function openRank(
  model: ModelSpec,
  plan: Plan,
  sites: readonly Site[],
  rank: number,
  gradientOrder: GradientOrder,
): RankState {
  const builder = new ProgramBuilder();
  const hyper = builder.tensor("hyper", "io", "float32", [8], true);
  const clip = builder.tensor("clip", "io", "float32", [2], true);
  const hasHead = sites.some((site) => site.layer === model.layers.length);
  const loss = hasHead ? builder.tensor("loss", "io", "float32", [1], true) : -1;
  const flats: FlatState[] = [];
  const slices: ParameterSlice[] = [];
  const constants: ConstantTensor[] = [];
  const inputs: Record<string, readonly number[]> = {};
  const inputPlaces: Record<string, InputPlace> = {};
  const constantIndex = new Map<readonly number[], number>();
  let tied: FlatState | undefined;
  let tiedApart: FlatState | undefined;

  const siteStates = sites.map((site): SiteState => {
    const place = placeOf(site.grid, rank);
    const parameterFlat = new Map<string, { flat: FlatState; entry: number }>();
    const siteFlats = site.layouts.map((layout) => {
      let flat = layout.part === "tied" ? tied : undefined;
      if (flat === undefined) {
        flat = openFlat(builder, plan, site, layout, rank, gradientOrder);
        slices.push(...flatSlices(site, layout, place, flats.length));
        flats.push(flat);
        if (layout.part === "tied") tied = flat;
      } else if (gradientOrder === "canonical") {
        tiedApart = { ...flat, ...openGradient(builder, flat, `${site.name}.tied`), expected: 0 };
        flat = tiedApart;
      }
      flat.expected += plan.microBatches;
      for (const [entry, { declaration }] of layout.entries.entries()) {
        parameterFlat.set(declaration.name, { flat, entry });
      }
      return flat;
    });
    const siteConstants = new Map<string, number>();
    for (const constant of site.graphs.constants) {
      const values = constant.perTensorRank[place.tensorIndex]!;
      let tensor = constantIndex.get(values);
      if (tensor === undefined) {
        tensor = builder.tensor(`${site.name}.${constant.name}`, "io", constant.dtype, constant.shape, true);
        constantIndex.set(values, tensor);
        constants.push({ tensor, values });
      }
      siteConstants.set(constant.name, tensor);
    }
    const data = new Map<string, readonly number[]>();
    for (const [name, value] of Object.entries(site.graphs.values)) {
      if (value.role !== "data") continue;
      const samples = samplesPerRank(plan, site.strategy);
      const wanted: InputPlace = {
        value: name,
        firstSample: place.dataIndex * samples,
        samples,
        tensorIndex: place.tensorIndex,
        tensorDegree: site.strategy.tensorDegree,
      };
      const key = inputKey(inputPlaces, wanted, site.name);
      inputs[key] ??= Array.from({ length: plan.microBatches }, (_, microBatch) =>
        builder.tensor(`${key}#${microBatch}`, "io", value.dtype, value.shape, true),
      );
      inputPlaces[key] ??= wanted;
      data.set(name, inputs[key]);
    }
    return {
      site,
      place,
      tensorGroup: site.strategy.tensorDegree > 1 ? builder.group(tensorGroup(site.grid, rank)) : -1,
      flats: siteFlats,
      parameterFlat,
      entryGradients: site.layouts.map((layout) =>
        layout.entries.map(({ declaration }) => site.gradientOf.get(declaration.name)),
      ),
      constants: siteConstants,
      data,
      saved: new Set(site.graphs.saved),
    };
  });
  return {
    model,
    plan,
    rank,
    stage: stageOfRank(plan, rank),
    builder,
    sites: siteStates,
    flats,
    tiedApart,
    gradientOrder,
    slices,
    constants,
    inputs,
    inputPlaces,
    hyper,
    clip,
    loss,
    lingering: [],
  };
}

/** The value's own name, or `name@site` where another site of this rank reads another part of the same data. */
function inputKey(places: Record<string, InputPlace>, wanted: InputPlace, site: string): string {
  const same = (key: string): boolean => {
    const there = places[key]!;
    return (
      there.value === wanted.value &&
      there.firstSample === wanted.firstSample &&
      there.samples === wanted.samples &&
      there.tensorIndex === wanted.tensorIndex &&
      there.tensorDegree === wanted.tensorDegree
    );
  };
  const known = Object.keys(places).find(same);
  if (known !== undefined) return known;
  return places[wanted.value] === undefined ? wanted.value : `${wanted.value}@${site}`;
}

function openFlat(
  builder: ProgramBuilder,
  plan: Plan,
  site: Site,
  layout: FlatLayout,
  rank: number,
  gradientOrder: GradientOrder,
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
  const bfloat16 = plan.precision === "bfloat16";
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
  const keepsWholeGradient = mode === "ddp" || (mode === "zero1" && gradientOrder === "deferred");
  const tensorRanks = layout.wholeEnd > layout.wholeStart ? tensorGroup(grid, rank) : [];
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
    ownGradientStart: shardStart,
    contributions: 0,
    expected: 0,
  };
  return { ...flat, ...openGradient(builder, flat, name) };
}

/** What gradients of a flat are added up in. */
function openGradient(
  builder: ProgramBuilder,
  flat: Pick<FlatState, "layout" | "mode" | "keepsWholeGradient" | "shardStart" | "shardElements">,
  name: string,
): Pick<FlatState, "gradient" | "ownGradient"> {
  const { layout, mode, keepsWholeGradient, shardStart, shardElements } = flat;
  const gradient = builder.tensor(`${name}.gradient`, "gradient", "float32", [
    keepsWholeGradient ? layout.elements : shardElements,
  ]);
  const isPiece = keepsWholeGradient && mode !== "ddp";
  const ownGradient = isPiece
    ? builder.view(gradient, `${name}.gradient.shard`, shardStart, [shardElements])
    : gradient;
  return { gradient, ownGradient };
}

/** All ranks of a grid in the order of the samples and positions that they work on. */
function sampleOrder(grid: RankGrid): readonly number[] {
  return Array.from({ length: grid.dataDegree }, (_, data) => rankAt(grid, 0, data)).flatMap((rank) =>
    tensorGroup(grid, rank),
  );
}

function flatSlices(site: Site, layout: FlatLayout, place: RankPlace, flat: number): ParameterSlice[] {
  return layout.entries.map(({ declaration, offset, shape }) => {
    const { cut, fullShape } = declaration;
    const start = fullShape.map((_, axis) => {
      if (cut === null || axis !== cut.axis) return 0;
      const piece = Math.floor((place.tensorIndex * cut.pieces) / site.strategy.tensorDegree);
      return piece * shape[axis]!;
    });
    const owner = layout.part === "tied" ? "embedding" : site.name;
    return {
      name: `${owner}.${tiedName(declaration)}`,
      fullShape,
      start,
      extent: shape,
      init: declaration.init,
      flat,
      flatOffset: offset,
    };
  });
}

/** Label text of the ranks of a stage. */
export function stageRanks(plan: Plan, stage: number): readonly number[] {
  const ranks = ranksPerStage(plan);
  return Array.from({ length: ranks }, (_, local) => stage * ranks + local);
}
