import { GalvatronError } from "../base/errors.js";
import type { Dtype } from "../base/units.js";
import { gradientDtype } from "../plan/precision.js";
import { GraphBuilder } from "./graph-builder.js";
import type { Value } from "./ir.js";
import type { Init, LayerRequest, ParameterDeclaration, RankConstant } from "./layer-graphs.js";

export interface DropoutRates {
  readonly hidden: number;
  readonly attention: number;
}

export interface ParameterOptions {
  /** Axis that a tensor group of split "weights" cuts; whole on every rank where absent. */
  readonly cutAxis?: number;
  /** AdamW decays it; by default true for matrices and false for vectors (biases, norms). */
  readonly decay?: boolean;
  readonly init: Init;
  readonly tiedTo?: string;
  /** Rows beyond these in `fullShape[0]` only make the shape divide. */
  readonly unpaddedRows?: number;
}

/** What a family's file adds while it writes one layer down. */
export class LayerScope {
  readonly g: GraphBuilder;
  readonly request: LayerRequest;
  /** Element type of activations and of parameters as forward reads them. */
  readonly dtype: Dtype;
  /** Attention will be one fused kernel, forward and backward, see `Lowering`. */
  readonly fusedAttention: boolean;
  /** Size of the tensor group. */
  readonly degree: number;
  readonly inputs: Map<string, { readonly value: Value; readonly role: "borderInput" | "data" }> = new Map();
  readonly parameters: Map<string, { readonly value: Value; readonly declaration: ParameterDeclaration }> =
    new Map();
  readonly constants: Map<string, { readonly value: Value; readonly constant: RankConstant }> = new Map();
  readonly outputs: Map<string, Value> = new Map();
  lossValue: Value | null = null;
  /** What leaves as "loss": the loss, and the accuracy behind it. */
  reported: Value | null = null;
  /** Rates of dropout on hidden states and on attention probabilities. */
  readonly dropout: DropoutRates;
  private dropoutPlaces = 0;

  constructor(request: LayerRequest, dtype: Dtype, fusedAttention: boolean, dropout: DropoutRates) {
    this.g = new GraphBuilder(gradientDtype(request.precision) === "bfloat16");
    this.request = request;
    this.dtype = dtype;
    this.fusedAttention = fusedAttention;
    this.dropout = dropout;
    this.degree = request.strategy.tensorDegree;
  }

  /** The tensor group cuts weights (Megatron). */
  get cutsWeights(): boolean {
    return this.degree > 1 && this.request.strategy.tensorSplit === "weights";
  }

  /** The tensor group cuts the sequence and nothing else (Ulysses). */
  get cutsSequence(): boolean {
    return this.degree > 1 && this.request.strategy.tensorSplit === "sequence";
  }

  /** This rank's share of `extent` along a cut. */
  share(extent: number, what: string): number {
    if (extent % this.degree !== 0) {
      throw new GalvatronError(
        "PLAN_INVALID",
        `${what} (${extent}) must divide over the ${this.degree} ranks of a tensor group; choose a tensor degree that divides it`,
        { extent, tensorDegree: this.degree, kind: this.request.kind },
      );
    }
    return extent / this.degree;
  }

  /** A share of what only a "weights" group cuts. */
  weightShare(extent: number, what: string): number {
    return this.cutsWeights ? this.share(extent, what) : extent;
  }

  /** An activation `[S / degree, b, width]` that enters. */
  borderInput(name: string, sequence: number, width: number): Value {
    const value = this.g.input(this.dtype, [this.share(sequence, "sequence"), this.request.samples, width]);
    this.inputs.set(name, { value, role: "borderInput" });
    return value;
  }

  data(name: string, dtype: Dtype, shape: readonly number[]): Value {
    const value = this.g.input(dtype, shape);
    this.inputs.set(name, { value, role: "data" });
    return value;
  }

  parameter(name: string, fullShape: readonly number[], options: ParameterOptions): Value {
    const axis = this.cutsWeights ? options.cutAxis : undefined;
    const shape = fullShape.map((extent, i) => (i === axis ? this.share(extent, name) : extent));
    const value = this.g.input(this.dtype, shape);
    this.parameters.set(name, {
      value,
      declaration: {
        name,
        fullShape,
        cut: axis === undefined ? null : { axis, pieces: this.degree },
        decay: options.decay ?? fullShape.length > 1,
        init: options.init,
        ...(options.tiedTo === undefined ? {} : { tiedTo: options.tiedTo }),
        ...(options.unpaddedRows === undefined ? {} : { unpaddedRows: options.unpaddedRows }),
      },
    });
    return value;
  }

  /** A small tensor that differs from rank to rank of the tensor group. */
  rankConstant(
    name: string,
    dtype: Dtype,
    shape: readonly number[],
    contentOf: (tensorRank: number) => readonly number[],
  ): Value {
    const known = this.constants.get(name);
    if (known) return known.value;
    const perTensorRank = Array.from({ length: this.degree }, (_, rank) => contentOf(rank));
    const value =
      this.degree === 1 ? this.g.constant(perTensorRank[0]!, dtype, shape) : this.g.input(dtype, shape);
    this.constants.set(name, { value, constant: { name, dtype, shape, perTensorRank } });
    return value;
  }

  /** Number of the layer in the model, int64 `[1]`: layers that share graphs differ in it. 0 is the embedding. */
  layerNumber(): Value {
    const known = this.constants.get("layer");
    if (known) return known.value;
    const value = this.g.input("int64", [1]);
    const constant: RankConstant = { name: "layer", dtype: "int64", shape: [1], perTensorRank: "layer" };
    this.constants.set("layer", { value, constant });
    return value;
  }

  /** Number of a place of the layer that drops out, in the order in which they are written. */
  dropoutPlace(): number {
    return this.dropoutPlaces++;
  }

  /** An activation that leaves at the border. */
  borderOutput(name: string, value: Value): void {
    this.outputs.set(name, value);
  }

  /**
   * float32 `[1]`: this rank's share of the micro-batch's loss.
   * @param accuracy - float32 `[1]`: likewise of the share of right answers, where the layer counts them
   */
  loss(value: Value, accuracy?: Value): void {
    this.lossValue = value;
    this.reported = accuracy ? this.g.concat([value, accuracy], 0) : value;
  }
}
