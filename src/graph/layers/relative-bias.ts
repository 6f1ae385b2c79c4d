import type { Value } from "../ir.js";
import type { LayerScope } from "../layer-scope.js";

/**
 * Bucket of each distance (key minus query) from −(S−1) to S−1: T5's relative positions (Raffel et al. 2020, section
 * 2.1): exact near by, logarithmic up to `farthest`, one bucket beyond.
 *
 * @param both keys on both sides have buckets of their own; otherwise keys after the query share bucket 0
 */
export function distanceBuckets(
  sequence: number,
  buckets: number,
  farthest: number,
  both: boolean,
): readonly number[] {
  const half = both ? buckets / 2 : buckets;
  const exact = Math.floor(half / 2);
  return Array.from({ length: 2 * sequence - 1 }, (_, i) => {
    const relative = i - (sequence - 1);
    const side = both && relative > 0 ? half : 0;
    const distance = both ? Math.abs(relative) : Math.max(0, -relative);
    if (distance < exact) return side + distance;
    // In float32, as the published models compute it: bucket borders depend on the rounding.
    const ratio = Math.fround(
      Math.fround(Math.log(Math.fround(distance / exact))) / Math.fround(Math.log(farthest / exact)),
    );
    const far = exact + Math.trunc(Math.fround(ratio * (half - exact)));
    return side + Math.min(far, half - 1);
  });
}

/** Width of the border tensor that carries a table of `count` values along a sequence. */
export function carriedWidth(count: number, sequence: number): number {
  return Math.ceil(count / sequence);
}

/**
 * A small table as an activation, so that all layers of a stack can share it wherever they run: spread over the rows of
 * the sequence, with a copy for every sample. Layout changes and gradients treat it like any activation.
 *
 * @param table `[buckets, heads]`
 * @returns `[S / t, b, width]`
 */
export function carryTable(scope: LayerScope, table: Value, sequence: number, ownRows: Value): Value {
  const { g } = scope;
  const count = g.elementCount(table);
  const width = carriedWidth(count, sequence);
  const flat = g.pad(g.reshape(table, [count]), 0, 0, sequence * width - count);
  const rows = g.embedding(g.reshape(flat, [sequence, width]), ownRows, false);
  const share = rows.shape[0]!;
  return g.expand(g.reshape(rows, [share, 1, width]), [share, scope.request.samples, width]);
}

/** Back from {@link carryTable}: the rows of the group gathered, the copy of this rank's first sample. */
export function carriedTable(
  scope: LayerScope,
  carried: Value,
  shape: readonly [buckets: number, heads: number],
): Value {
  const { g } = scope;
  const whole = g.allGather(carried, scope.degree);
  const first = g.slice(whole, 1, 0, 1);
  const flat = g.reshape(first, [g.elementCount(first)]);
  return g.reshape(g.slice(flat, 0, 0, shape[0] * shape[1]), shape);
}

/** Heads that this rank computes of all, int64 `[heads / t]`. */
export function ownHeads(scope: LayerScope, heads: number): Value {
  const share = scope.share(heads, "attention heads");
  return scope.rankConstant("heads", "int64", [share], (rank) =>
    Array.from({ length: share }, (_, i) => rank * share + i),
  );
}

/**
 * Bias `[1, heads / t, S, S]` of this rank's heads from a table `[buckets, heads]`: entry (i, j) is that of distance
 * j − i. Rows of a Toeplitz matrix are one vector, shifted: reading it with a period one short makes the shift, so the
 * bias and its gradient are moves and one sum.
 */
export function distanceBias(
  scope: LayerScope,
  table: Value,
  buckets: readonly number[],
  sequence: number,
): Value {
  const { g } = scope;
  const heads = table.shape[1]!;
  const own = g.embedding(g.transpose(table, [1, 0]), ownHeads(scope, heads), false);
  const share = own.shape[0]!;
  const period = 2 * sequence;
  const index = g.constant(buckets, "int64", [buckets.length]);
  const byDistance = g.transpose(g.embedding(g.transpose(own, [1, 0]), index, false), [1, 0]);
  const row = g.reshape(g.pad(byDistance, 1, 0, 1), [share, 1, period]);
  const repeated = g.reshape(g.expand(row, [share, sequence, period]), [share, sequence * period]);
  const shifted = g.reshape(g.slice(repeated, 1, 0, sequence * (period - 1)), [share, sequence, period - 1]);
  return g.reshape(g.slice(shifted, 2, sequence - 1, period - 1), [1, share, sequence, sequence]);
}
