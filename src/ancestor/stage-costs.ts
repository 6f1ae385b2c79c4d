import { kindCounts } from "./assignment.js";
import { boundAt, stageBound } from "./stage-bound.js";
import { chooseStage, type LayerOptions, type Proof } from "./stage-choice.js";

/** Least times of stages by the layers they hold, kept for all choices of the vocabulary. */
export class StageCosts {
  readonly kinds: number;
  /** Layers of the model. */
  readonly depth: number;
  private readonly options: readonly (readonly LayerOptions[])[];
  readonly proof: Proof;
  private readonly kindOfLayer: Int32Array;
  private readonly exacts = new Map<string, { time: number; exposed: number }>();
  private readonly bounds = new Map<string, ReturnType<typeof stageBound>>();

  constructor(options: readonly (readonly LayerOptions[])[], kindOfLayer: Int32Array, proof: Proof) {
    this.proof = proof;
    this.options = options;
    this.kinds = options[0]!.length;
    this.kindOfLayer = kindOfLayer;
    this.depth = kindOfLayer.length;
  }

  /** Seconds: no choice of the stage's layers is faster. */
  bound(stage: number, budget: number, from: number, to: number): number {
    if (this.kinds === 1) {
      // equal layers: the bound of n layers is n times that of one with an n-th of the memory
      let one = this.bounds.get(String(stage));
      if (one === undefined) {
        one = stageBound(this.options[stage]!, [1], 1, 0);
        this.bounds.set(String(stage), one);
      }
      return (to - from) * boundAt(one, budget / (to - from));
    }
    const counts = kindCounts(this.kindOfLayer, this.kinds, from, to);
    const key = `${stage} ${counts.join()}`;
    let line = this.bounds.get(key);
    if (line === undefined) {
      line = stageBound(this.options[stage]!, counts, 1, 0);
      this.bounds.set(key, line);
    }
    return boundAt(line, budget);
  }

  exact(stage: number, budget: number, from: number, to: number, limit: number): number {
    return this.choice(stage, budget, from, to, limit).time;
  }

  exposure(stage: number, budget: number, from: number, to: number, limit: number): number {
    return this.choice(stage, budget, from, to, limit).exposed;
  }

  private choice(
    stage: number,
    budget: number,
    from: number,
    to: number,
    limit: number,
  ): { time: number; exposed: number } {
    const counts = kindCounts(this.kindOfLayer, this.kinds, from, to);
    const key = `${stage} ${budget} ${limit} ${counts.join()}`;
    let known = this.exacts.get(key);
    if (known === undefined) {
      const chosen = chooseStage(this.options[stage]!, counts, budget, limit, Infinity, this.proof);
      known = chosen === null ? NOTHING : { time: chosen.time, exposed: chosen.exposed };
      this.exacts.set(key, known);
    }
    return known;
  }
}

const NOTHING: { readonly time: number; readonly exposed: number } = { time: Infinity, exposed: 0 };
