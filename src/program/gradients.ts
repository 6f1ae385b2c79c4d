import { GalvatronError } from "../base/errors.js";
import type { Dtype } from "../base/units.js";
import type { FlatState } from "./flat-state.js";
import type { InstructionLabel } from "./program.js";
import type { RankState, SiteState } from "./rank-state.js";
import { declaredValue } from "./sites.js";

/** Where one backward visit writes the gradients of its parameters. */
export interface GradientSink {
  /** The tensor of a gradient value; `undefined` when it is no gradient of a parameter of this site. */
  tensor(gradient: string): number | undefined;
  readonly flats: readonly FlatSink[];
}

/** One flat vector of the site. */
interface FlatSink {
  readonly flat: FlatState;
  /** The whole vector that the graphs write into. */
  readonly whole: number;
  /** It is the accumulated gradient itself: nothing is left to add. */
  readonly direct: boolean;
}

/**
 * Opens the vectors that a backward visit writes. The first contribution of a vector that is kept whole, in the type in
 * which it comes, goes straight to its place; all others to a scratch vector. What no gradient covers (padding,
 * parameters without gradient) is filled with zeros, for collectives and norms read whole vectors.
 */
export function openGradientSink(state: RankState, site: SiteState, microBatch: number): GradientSink {
  const { builder } = state;
  const label: InstructionLabel = { phase: "backward", layer: site.site.layer, microBatch };
  const tensors = new Map<string, number>();
  const flats = site.flats.map((flat, index): FlatSink => {
    const gradients = site.entryGradients[index]!;
    const dtype = gradientDtype(site, gradients);
    const direct = flat.contributions === 0 && dtype === flat.gradientDtype && flat.keepsWholeGradient;
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
