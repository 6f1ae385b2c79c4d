import { placeOf, type RankPlace, tensorGroup } from "../cluster/rank-groups.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { GradientOrder, Plan } from "../plan/plan.js";
import { ranksPerStage, samplesPerRank, stageOfRank } from "../plan/stages.js";
import type { ArenaCache } from "./arena-cache.js";
import { type FlatState, flatSlices, openFlat, openGradient } from "./flat-state.js";
import type { ConstantTensor, InputPlace, ParameterSlice } from "./program.js";
import { ProgramBuilder } from "./program-builder.js";
import type { RelayoutCache } from "./relayout-cache.js";
import { declaredValue, type Site } from "./sites.js";

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

/** What the ranks of a plan have in common while their programs are written. */
export interface Shared {
  readonly gradientOrder: GradientOrder;
  readonly arenas: ArenaCache;
  readonly relayouts: RelayoutCache;
}

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
  readonly shared: Shared;
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
  shared: Shared,
): RankState {
  const { gradientOrder } = shared;
  const builder = new ProgramBuilder();
  const hyper = builder.tensor("hyper", "io", "float32", [8], true);
  const clip = builder.tensor("clip", "io", "float32", [2], true);
  const head = sites.find((site) => site.layer === model.layers.length);
  const loss = head ? builder.tensor("loss", "io", "float32", lossShape(head, plan), true) : -1;
  const flats: FlatState[] = [];
  const slices: ParameterSlice[] = [];
  const constants: ConstantTensor[] = [];
  const inputs: Record<string, readonly number[]> = {};
  const inputPlaces: Record<string, InputPlace> = {};
  const constantIndex = new Map<readonly number[], number>();
  let tied: FlatState | undefined;
  let tiedApart: FlatState | undefined;

  const siteStates = sites.map((site, index): SiteState => {
    // An embedding's own passes hide next to nothing of what the layer behind it gathers and reduces.
    const isFirst = index === 0 || (index === 1 && sites[0]!.layer < 0);
    const place = placeOf(site.grid, rank);
    const parameterFlat = new Map<string, { flat: FlatState; entry: number }>();
    const siteFlats = site.layouts.map((layout) => {
      let flat = layout.part === "tied" ? tied : undefined;
      if (flat === undefined) {
        flat = openFlat(builder, plan, site, layout, rank, gradientOrder, isFirst);
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
      const { perTensorRank } = constant;
      const values = perTensorRank === "layer" ? [site.layer + 1] : perTensorRank[place.tensorIndex]!;
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
    shared,
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

/** What the head writes for each micro-batch, one after another. */
function lossShape(head: Site, plan: Plan): readonly [number] {
  return [plan.microBatches * declaredValue(head, "loss").shape[0]!];
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

/** All ranks of a stage. */
export function stageRanks(plan: Plan, stage: number): readonly number[] {
  const ranks = ranksPerStage(plan);
  return Array.from({ length: ranks }, (_, local) => stage * ranks + local);
}
