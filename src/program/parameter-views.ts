import { type FlatState, shardOf } from "./flat-state.js";
import type { InstructionLabel } from "./program.js";
import type { RankState, SiteState } from "./rank-state.js";
import { readState } from "./read-state.js";
import { stepInputs } from "./sites.js";

/**
 * Parameters as graphs read them, visit after visit. What ranks share is gathered ahead of its use: under ZeRO-3 for every
 * visit, under ZeRO-1 and 2 once a step, for the first, or by the step before, behind its update.
 */
export class ParameterViews {
  readonly #state: RankState;
  /**
   * Whole vectors in reach that were gathered, by the state whose shards they are of: under ZeRO-1 and 2 the state itself.
   */
  readonly #gathered = new Map<number, number>();
  readonly #views = new Map<number, readonly number[]>();
  readonly #readBy = new Map<string, readonly FlatState[]>();

  constructor(state: RankState) {
    this.#state = state;
    for (const flat of state.flats) {
      const whole = flat[readState(flat)];
      if (flat.wholeBetweenSteps) this.#gathered.set(whole, whole);
    }
  }

  /** Starts the gathers that a visit needs; does nothing for what is already there. */
  gather(site: SiteState, pass: "forward" | "backward", microBatch: number): void {
    const { builder } = this.#state;
    for (const flat of this.#needs(site, pass)) {
      const read = readState(flat);
      if (flat.mode === "ddp" || this.#gathered.has(flat[read])) continue;
      const { dtype } = builder.tensors[flat[read]]!;
      const whole =
        flat.mode === "zero3"
          ? builder.tensor(`${site.site.name}.${flat.layout.part}.gathered`, "transient", dtype, [
              flat.layout.elements,
            ])
          : flat[read];
      emitGather(this.#state, flat, whole, { phase: "gather", layer: site.site.layer, microBatch });
      this.#gathered.set(flat[read], whole);
    }
  }

  /** Drops what a visit of ZeRO-3 gathered, unless the next visit needs it too. */
  release(site: SiteState, next: { site: SiteState; pass: "forward" | "backward" } | undefined): void {
    const needed = next === undefined ? [] : this.#needs(next.site, next.pass);
    const kept = new Set(needed.map((flat) => flat[readState(flat)]));
    for (const flat of site.flats) {
      const state = flat[readState(flat)];
      if (flat.mode === "zero3" && !kept.has(state)) this.#gathered.delete(state);
    }
  }

  /** The tensor of a parameter. */
  tensor(site: SiteState, name: string): number {
    const { flat, entry } = site.parameterFlat.get(name)!;
    const state = flat[readState(flat)];
    const whole = this.#gathered.get(state) ?? state;
    let views = this.#views.get(whole);
    if (views === undefined) {
      const { builder } = this.#state;
      views = flat.layout.entries.map(({ declaration, offset, shape }) =>
        builder.view(whole, `${site.site.name}.${declaration.name}`, offset, shape),
      );
      this.#views.set(whole, views);
    }
    return views[entry]!;
  }

  #needs(site: SiteState, pass: "forward" | "backward"): readonly FlatState[] {
    const key = `${site.site.layer} ${pass}`;
    let flats = this.#readBy.get(key);
    if (flats === undefined) {
      const { graphs, strategy, recomputeSteps } = site.site;
      const steps =
        pass === "forward"
          ? graphs.forward
          : strategy.recompute
            ? [...recomputeSteps.map((index) => graphs.forward[index]!), ...graphs.backward]
            : graphs.backward;
      const read = new Set<FlatState>();
      for (const name of steps.flatMap(stepInputs)) {
        const parameter = site.parameterFlat.get(name);
        if (parameter !== undefined) read.add(parameter.flat);
      }
      flats = site.flats.filter((flat) => read.has(flat));
      this.#readBy.set(key, flats);
    }
    return flats;
  }
}

/** All shards of what graphs read of a flat, to every rank that shares them. */
export function emitGather(
  { builder }: RankState,
  flat: FlatState,
  output: number,
  label: InstructionLabel,
): void {
  builder.emit({
    op: "allGather",
    stream: "gather",
    label,
    group: flat.shareGroup,
    reduction: "sum",
    input: shardOf(builder, flat, readState(flat)),
    output,
  });
}
