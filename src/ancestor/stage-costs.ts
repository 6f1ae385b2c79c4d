import { kindCounts } from "./assignment.js";
import { boundAt, type StageBound, stageBound } from "./stage-bound.js";
import { chooseStage, type LayerOptions, type Proof } from "./stage-choice.js";

/** Least times of stages by the layers they hold, kept for all choices of the vocabulary. */
export class StageCosts {
  readonly kinds: number;
  /** Layers of the model. */
  readonly depth: number;
  private readonly options: readonly (readonly LayerOptions[])[];
  readonly proof: Proof;
  private readonly kindOfLayer: Int32Array;
  private readonly exacts = new Map<string, number>();
  private readonly bounds = new Map<string, StageBound>();

  constructor(options: readonly (readonly LayerOptions[])[], kindOfLayer: Int32Array, proof: Proof) {
    this.proof = proof;
    this.options = options;
    this.kinds = options[0]!.length;
    this.kindOfLayer = kindOfLayer;
    this.depth = kindOfLayer.length;
  }

  /** Seconds: no choice of the stage's layers is faster; layers may be fractions. */
  bound(stage: number, budget: number, from: number, to: number): number {
    return this.fractional(stage, 1, 0, budget, from, to);
  }

  /** The same for `weight` × time + exposed synchronisation of the first stage. */
  boundWithSync(weight: number, budget: number, to: number): number {
    return this.fractional(0, weight, 1, budget, 0, to);
  }

  /** Seconds of the stage's fastest layers. */
  exact(stage: number, budget: number, from: number, to: number): number {
    const counts = kindCounts(this.kindOfLayer, this.kinds, from, to);
    const key = `${stage} ${budget} ${counts.join()}`;
    let known = this.exacts.get(key);
    if (known === undefined) {
      const chosen = chooseStage(this.options[stage]!, counts, budget, Infinity, Infinity, this.proof);
      known = chosen?.time ?? Infinity;
      this.exacts.set(key, known);
    }
    return known;
  }

  private fractional(
    stage: number,
    timeWeight: number,
    exposedWeight: number,
    budget: number,
    from: number,
    to: number,
  ): number {
    // equal layers: the bound of n layers is n times that of one with an n-th of the memory
    const scale = this.kinds === 1 ? to - from : 1;
    const counts = this.kinds === 1 ? ONE : kindCounts(this.kindOfLayer, this.kinds, from, to);
    const key = `${stage} ${timeWeight} ${exposedWeight} ${this.kinds === 1 ? "" : counts.join()}`;
    let line = this.bounds.get(key);
    if (line === undefined) {
      line = stageBound(this.options[stage]!, counts, timeWeight, exposedWeight);
      this.bounds.set(key, line);
    }
    return scale * boundAt(line, budget / scale);
  }
}

const ONE: Int32Array = Int32Array.of(1);
