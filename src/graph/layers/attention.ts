import { GalvatronError } from "../../base/errors.js";
import type { Value } from "../ir.js";
import type { LayerScope } from "../layer-scope.js";
import { attentionFrom } from "../ops/attention-ops.js";
import { attentionDropout } from "./dropout.js";

export interface AttentionShape {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headWidth: number;
  readonly causal: boolean;
  /** 1 / sqrt(headWidth) unless the family says otherwise. */
  readonly scale: number;
  /** Turns queries and keys `[S, b, h, d]`, which hold the whole sequence, by their positions. */
  readonly rotate?: (x: Value) => Value;
  /** Reorders `[S, b, h, d]` of the whole sequence into what attends to itself, and back. */
  readonly arrange?: { readonly enter: (x: Value) => Value; readonly leave: (x: Value) => Value };
  /** Keys that count, the first ones; the rest pads the sequence. */
  readonly keys?: number;
  /** Bias `[n, heads of this rank, Sq, Sk]`. */
  readonly bias?: Value;
}

function checkHeads(scope: LayerScope, shape: AttentionShape): void {
  for (const [what, heads] of [
    ["attention heads", shape.heads],
    ["key and value heads", shape.keyValueHeads],
  ] as const) {
    if (heads % scope.degree !== 0) {
      throw new GalvatronError(
        "PLAN_INVALID",
        `${heads} ${what} do not divide over a tensor group of ${scope.degree}; choose a tensor degree that divides ${heads}`,
        { heads, tensorDegree: scope.degree, kind: scope.request.kind },
      );
    }
  }
}

/**
 * Ulysses, from a cut sequence to cut heads (Jacobs et al. 2023): `[S/t, b, h·d]` to `[S, b, h/t, d]`.
 * Piece i of the exchanged tensor holds the heads of rank i.
 */
function toHeads(scope: LayerScope, x: Value, heads: number, headWidth: number): Value {
  const { g, degree } = scope;
  const [rows, samples] = x.shape as readonly [number, number];
  if (!scope.cutsSequence) return g.reshape(x, [rows, samples, heads, headWidth]);
  const width = (heads / degree) * headWidth;
  const pieces = g.transpose(g.reshape(x, [rows, samples, degree, width]), [2, 0, 1, 3]);
  const exchanged = g.allToAll(g.reshape(pieces, [degree * rows, samples, width]), degree);
  return g.reshape(exchanged, [degree * rows, samples, heads / degree, headWidth]);
}

/** The way back: `[S, b, h/t, d]` to `[S/t, b, h·d]`. */
function toSequence(scope: LayerScope, x: Value): Value {
  const { g, degree } = scope;
  const [rows, samples, heads, headWidth] = x.shape as readonly [number, number, number, number];
  const width = heads * headWidth;
  if (!scope.cutsSequence) return g.reshape(x, [rows, samples, width]);
  const exchanged = g.allToAll(g.reshape(x, [rows, samples, width]), degree);
  const pieces = g.reshape(exchanged, [degree, rows / degree, samples, width]);
  return g.reshape(g.transpose(pieces, [1, 2, 0, 3]), [rows / degree, samples, degree * width]);
}

/**
 * Scaled dot-product attention between projections. Under a "weights" group q, k and v hold the whole sequence and
 * this rank's heads; under a "sequence" group this rank's sequence and all heads.
 *
 * @param q `[Sq, b, h·d]`; k and v `[Sk, b, g·d]`
 * @returns `[Sq, b, h·d]` cut like q
 */
export function attention(scope: LayerScope, q: Value, k: Value, v: Value, shape: AttentionShape): Value {
  checkHeads(scope, shape);
  const heads = scope.weightShare(shape.heads, "attention heads");
  const groups = scope.weightShare(shape.keyValueHeads, "key and value heads");
  const rotate = shape.rotate ?? ((x: Value): Value => x);
  const { enter, leave } = shape.arrange ?? { enter: (x: Value) => x, leave: (x: Value) => x };
  const queries = rotate(toHeads(scope, q, heads, shape.headWidth));
  const keys = rotate(toHeads(scope, k, groups, shape.headWidth));
  const values = toHeads(scope, v, groups, shape.headWidth);
  const visible = (x: Value): Value => scope.g.slice(x, 0, 0, shape.keys ?? x.shape[0]!);
  const inputs = [
    enter(queries),
    visible(enter(keys)),
    visible(enter(values)),
    ...(shape.bias ? [shape.bias] : []),
  ];
  const attributes = {
    scale: shape.scale,
    causal: shape.causal,
    keep: scope.fusedAttention ? "logSumExp" : "probabilities",
  };
  const context =
    scope.dropout.attention > 0
      ? attentionFrom(scope.g, inputs, attributes, (p) => attentionDropout(scope, p, shape.heads))
      : scope.g.one("Attention", inputs, attributes);
  return toSequence(scope, leave(context));
}
