import { GalvatronError } from "../base/errors.js";
import type { Dtype } from "../base/units.js";
import type { InstructionLabel } from "./program.js";
import type { FlatState, RankState, SiteState } from "./rank-state.js";
import { declaredValue } from "./sites.js";

/** Where one backward visit writes the gradients of its parameters. */
export interface GradientSink {
  /** The tensor of a gradient value; `undefined` when it is no gradient of a parameter of this site. */
  tensor(gradient: string): number | undefined;
  readonly flats: readonly FlatSink[];
}

/** One flat vector of the site. */
export interface FlatSink {
  readonly flat: FlatState;
  /** The whole vector that the graphs write into. */
  readonly whole: number;
  /** It is the accumulated gradient itself: nothing is left to add. */
  readonly direct: boolean;
}

/**
 * Opens the vectors that a backward visit writes. The first contribution of a vector that is kept whole in float32
 * goes straight to its place; all others to a scratch vector. What no gradient covers (padding, parameters without
 * gradient) is filled with zeros, for collectives and norms read whole vectors.
 */
export function openGradientSink(state: RankState, site: SiteState, microBatch: number): GradientSink {
  const { builder } = state;
  const label: InstructionLabel = { phase: "backward", layer: site.site.layer, microBatch };
  const tensors = new Map<string, number>();
  const flats = site.flats.map((flat, index): FlatSink => {
    const gradients = site.entryGradients[index]!;
    const dtype = gradientDtype(site, gradients);
    const direct =
      flat.contributions === 0 && dtype === "float32" && (flat.mode === "ddp" || flat.mode === "zero1");
    const name = `${site.site.name}.${flat.layout.part}.gradient#${microBatch}`;
    const whole = direct ? flat.gradient : builder.tensor(name, "transient", dtype, [flat.layout.elements]);
    const fillZero = (start: number, end: number): void => {
      if (end <= start) return;
      const output = builder.view(whole, `${name}.padding`, start, [end - start]);
      builder.emit({ op: "fill", stream: "compute", label, value: 0, output });
    };
    let covered = 0;
    for (const [entry, { offset, elements, shape }] of flat.layout.entries.entries()) {
      const gradient = gradients[entry];
      if (gradient === undefined) continue;
      fillZero(covered, offset);
      tensors.set(gradient, builder.view(whole, `${site.site.name}.${gradient}`, offset, shape));
      covered = offset + elements;
    }
    fillZero(covered, flat.layout.elements);
    return { flat, whole, direct };
  });
  return { tensor: (gradient) => tensors.get(gradient), flats };
}

/** @throws {GalvatronError} PROGRAM_INVALID when the gradients of one flat vector come in different element types. */
function gradientDtype(site: SiteState, gradients: readonly (string | undefined)[]): Dtype {
  const dtypes = new Set(gradients.flatMap((name) => (name ? declaredValue(site.site, name).dtype : [])));
  if (dtypes.size > 1) {
    throw new GalvatronError(
      "PROGRAM_INVALID",
      `${site.site.name}: gradients of one layer come as ${[...dtypes].join(" and ")}; expected one element type.`,
      { site: site.site.name },
    );
  }
  return [...dtypes][0] ?? "float32";
}

/**
 * Adds what a backward visit wrote to the gradients of the step, and after the last contribution reduces them over
 * the ranks that share the states: once a step under ddp (all-reduce) and ZeRO-1 (reduce-scatter), every time under
 * ZeRO-2 and ZeRO-3. Reductions go to their own stream, behind the backward of the layers before.
 */
export function contributeGradients(
  state: RankState,
  site: SiteState,
  sink: GradientSink,
  microBatch: number,
): void {
  const { builder } = state;
  const { layer } = site.site;
  for (const { flat, whole, direct } of sink.flats) {
    const first = flat.contributions === 0;
    flat.contributions++;
    const add = (input: number, output: number, stream: "compute" | "reduce"): void => {
      const phase = stream === "compute" ? "backward" : "reduce";
      const label: InstructionLabel = { phase, layer, microBatch };
      builder.emit({ op: first ? "copy" : "accumulate", stream, label, input, output });
    };
    if (flat.mode === "ddp" || flat.mode === "zero1") {
      if (!direct) add(whole, flat.gradient, "compute");
    } else {
      scatterContribution(state, site, flat, whole, first, microBatch, add);
    }
    if (flat.contributions === flat.expected) reduceOnce(state, flat, layer, microBatch);
  }
}

/** ZeRO-2 and ZeRO-3: this visit's gradients to the ranks that own them. Reduced in float32. */
function scatterContribution(
  state: RankState,
  site: SiteState,
  flat: FlatState,
  whole: number,
  first: boolean,
  microBatch: number,
  add: (input: number, output: number, stream: "reduce") => void,
): void {
  const { builder } = state;
  const { layer, name } = site.site;
  let input = whole;
  if (builder.tensors[whole]!.dtype !== "float32") {
    input = builder.tensor(`${name}.gradient32#${microBatch}`, "transient", "float32", [
      flat.layout.elements,
    ]);
    const label: InstructionLabel = { phase: "backward", layer, microBatch };
    builder.emit({ op: "copy", stream: "compute", label, input: whole, output: input });
  }
  const output = first
    ? flat.gradient
    : builder.tensor(`${name}.gradientShard#${microBatch}`, "transient", "float32", [flat.shardElements]);
  builder.emit({
    op: "reduceScatter",
    stream: "reduce",
    label: { phase: "reduce", layer, microBatch },
    group: flat.shareGroup,
    reduction: "sum",
    input,
    output,
  });
  if (!first) add(output, flat.gradient, "reduce");
  state.lingering.push(input);
}

/** What happens once a step, when all contributions are in. */
function reduceOnce(state: RankState, flat: FlatState, layer: number, microBatch: number): void {
  const { builder } = state;
  const base = {
    stream: "reduce",
    label: { phase: "reduce", layer, microBatch } as InstructionLabel,
    reduction: "sum",
  } as const;
  if (flat.shareRanks > 1 && flat.mode === "ddp") {
    const { gradient } = flat;
    builder.emit({ ...base, op: "allReduce", group: flat.shareGroup, input: gradient, output: gradient });
  }
  if (flat.mode === "zero1") {
    builder.emit({
      ...base,
      op: "reduceScatter",
      group: flat.shareGroup,
      input: flat.gradient,
      output: flat.ownGradient,
    });
  }
  if (flat.wholeGroup >= 0) {
    const start = Math.max(flat.layout.wholeStart, flat.ownGradientStart);
    const end = Math.min(flat.layout.wholeEnd, flat.ownGradientStart + flat.shardElements);
    if (end > start) {
      const name = `${builder.tensors[flat.gradient]!.name}.whole`;
      const piece = builder.view(flat.ownGradient, name, start - flat.ownGradientStart, [end - start]);
      builder.emit({ ...base, op: "allReduce", group: flat.wholeGroup, input: piece, output: piece });
    }
  }
}
