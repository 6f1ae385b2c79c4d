import { KEY_MASK, LOW_BITS, MIX_CONSTANTS, mixKeys } from "../../base/mix.js";
import type { GraphBuilder } from "../graph-builder.js";
import type { Value } from "../ir.js";
import type { LayerScope } from "../layer-scope.js";
import { DECIDING } from "../ops/dropout-ops.js";
import { wideDtype } from "../ops/op-definition.js";
import { positionsOf } from "./positions.js";
import { ownHeads } from "./relative-bias.js";

type Keys = readonly [Value, Value];

/** Places of one layer that drop out, at most. */
const PLACES = 32;

/** The twin of `mixKeys`, elementwise with broadcasting. */
function mixed(g: GraphBuilder, [key0, key1]: Keys, counter: Value): Keys {
  const [c0, c1, c2, c3] = MIX_CONSTANTS.map((value) => g.scalar(value, "int64")) as [
    Value,
    Value,
    Value,
    Value,
  ];
  const low = (value: Value): Value => g.bitwiseAnd(value, g.scalar(KEY_MASK, "int64"));
  const middle = (a: Value, b: Value): Value => low(g.div(g.mul(a, b), g.scalar(2 ** LOW_BITS, "int64")));
  const a = low(g.add(key0, g.mul(counter, c0)));
  const b = low(g.add(g.add(key1, g.mul(counter, c1)), c2));
  const first = middle(a, b);
  const second = middle(low(g.add(a, c3)), low(g.add(b, first)));
  const third = middle(low(g.add(first, b)), low(g.add(second, c2)));
  return [third, middle(low(g.add(second, a)), low(g.add(third, c0)))];
}

/**
 * Keys int64 `[1, b, 1]` of this place of this layer for every sample, from those that the loader gives each sample of
 * each step, "dropout" int64 `[1, b, 3]`; and whether it drops out at all.
 */
function sampleKeys(scope: LayerScope): { readonly keys: Keys; readonly active: Value } {
  const { g } = scope;
  const data =
    scope.inputs.get("dropout")?.value ?? scope.data("dropout", "int64", [1, scope.request.samples, 3]);
  const place = g.add(
    g.mul(scope.layerNumber(), g.scalar(PLACES, "int64")),
    g.scalar(scope.dropoutPlace(), "int64"),
  );
  return {
    keys: mixed(g, [g.slice(data, 2, 0, 1), g.slice(data, 2, 1, 2)], place),
    active: g.slice(data, 2, 2, 3),
  };
}

/** Keys of columns `[start, start + count)`. */
function columnKeys(start: number, count: number): readonly (readonly [number, number])[] {
  return Array.from({ length: count }, (_, i) =>
    mixKeys(...(MIX_CONSTANTS.slice(0, 2) as [number, number]), start + i),
  );
}

/** @param cut - the tensor group cuts the columns, of which x holds this rank's */
function dropped(scope: LayerScope, x: Value, rows: Keys, active: Value, rate: number, cut = false): Value {
  const { g } = scope;
  const width = x.shape[x.shape.length - 1]!;
  const halves = [0, 1] as const;
  const columns = halves.map((half) => {
    const keysOf = (rank: number): readonly number[] =>
      columnKeys(rank * width, width).map((keys) => keys[half]);
    return cut
      ? scope.rankConstant(`columnKeys${half}.${width}`, "int64", [width], keysOf)
      : g.constant(keysOf(0), "int64", [width]);
  });
  return g.one("Dropout", [x, ...rows, active, ...columns], { rate });
}

/**
 * Dropout on hidden states `[S / t, b, width]`. Which elements go depends on seed, step, sample, layer, place, position
 * and column: on nothing that a plan decides.
 */
export function dropout(scope: LayerScope, x: Value): Value {
  const rate = scope.dropout.hidden;
  if (rate === 0) return x;
  const { g } = scope;
  const share = x.shape[0]!;
  const positions = g.reshape(positionsOf(scope, share * scope.degree), [share, 1, 1]);
  const { keys, active } = sampleKeys(scope);
  return dropped(scope, x, mixed(g, keys, positions), active, rate);
}

/**
 * Dropout between the projections of a feed-forward `[S, b, inner / t]`, or `[S / t, b, inner]` where the group cuts the
 * sequence.
 */
export function innerDropout(scope: LayerScope, x: Value): Value {
  const rate = scope.dropout.hidden;
  if (rate === 0) return x;
  const { g, cutsSequence, degree } = scope;
  const rows = x.shape[0]!;
  const positions = cutsSequence
    ? positionsOf(scope, rows * degree)
    : g.constant(
        Array.from({ length: rows }, (_, i) => i),
        "int64",
        [rows],
      );
  const { keys, active } = sampleKeys(scope);
  const rowKeys = mixed(g, keys, g.reshape(positions, [rows, 1, 1]));
  return dropped(scope, x, rowKeys, active, rate, scope.cutsWeights);
}

/**
 * Stochastic depth (Huang et al. 2016): a residual branch `[S / t, b, width]` goes whole for some samples, and grows for
 * the others.
 *
 * @param rates - by number of the layer, 0 the embedding: layers that share graphs differ in them
 */
export function dropPath(scope: LayerScope, branch: Value, rates: readonly number[]): Value {
  if (rates.every((rate) => rate === 0)) return branch;
  const { g } = scope;
  const { keys, active } = sampleKeys(scope);
  const [column] = columnKeys(0, 1);
  const product = g.mul(
    g.add(keys[0], g.scalar(column![0], "int64")),
    g.add(keys[1], g.scalar(column![1], "int64")),
  );
  const ofLayer = (values: readonly number[], dtype: "int64" | "float32"): Value =>
    g.reshape(g.gather(g.constant(values, dtype, [values.length]), scope.layerNumber()), [1, 1, 1]);
  const thresholds = ofLayer(
    rates.map((rate) => Math.round(rate * DECIDING)),
    "int64",
  );
  const grown = ofLayer(
    rates.map((rate) => 1 / (1 - rate)),
    "float32",
  );
  const kept = g.greaterOrEqual(
    g.bitwiseAnd(product, g.scalar(DECIDING - 1, "int64")),
    g.mul(active, thresholds),
  );
  const one = g.scalar(1, "float32");
  const factor = g.where(
    kept,
    g.where(g.equal(active, g.scalar(1, "int64")), grown, one),
    g.scalar(0, "float32"),
  );
  const wide = wideDtype(branch.dtype);
  return g.cast(g.mul(g.cast(branch, wide), g.cast(factor, wide)), branch.dtype);
}

/**
 * Dropout on attention probabilities `[b · windows, h / t, Sq, Sk]` of this rank's heads.
 *
 * @param heads of the whole layer
 */
export function attentionDropout(scope: LayerScope, probabilities: Value, heads: number): Value {
  const { g } = scope;
  const { samples } = scope.request;
  const [batch, share, queries] = probabilities.shape as readonly [number, number, number, number];
  const windows = batch / samples;
  const iota = (count: number): Value =>
    g.constant(
      Array.from({ length: count }, (_, i) => i),
      "int64",
      [count],
    );
  // Place of a row among all rows of its sample: (window · heads + head) · queries + query.
  const window = g.mul(g.reshape(iota(windows), [1, windows, 1, 1]), g.scalar(heads, "int64"));
  const head = g.reshape(ownHeads(scope, heads), [1, 1, share, 1]);
  const row = g.add(
    g.mul(g.add(window, head), g.scalar(queries, "int64")),
    g.reshape(iota(queries), [1, 1, 1, queries]),
  );
  const { keys, active } = sampleKeys(scope);
  const perSample = (value: Value): Value => g.reshape(value, [samples, 1, 1, 1]);
  const rows = mixed(g, [perSample(keys[0]), perSample(keys[1])], row).map((key) =>
    g.reshape(key, [batch, share, queries, 1]),
  ) as [Value, Value];
  const perWindow = g.expand(perSample(active), [samples, windows, 1, 1]);
  const drops = g.reshape(perWindow, [batch, 1, 1, 1]);
  return dropped(scope, probabilities, rows, drops, scope.dropout.attention);
}
