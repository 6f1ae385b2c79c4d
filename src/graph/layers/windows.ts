import type { Value } from "../ir.js";
import type { LayerScope } from "../layer-scope.js";
import { positionsOf } from "./positions.js";
import { ownHeads } from "./relative-bias.js";

/** A square grid of tokens, row by row, cut into square windows after a cyclic shift (Liu et al. 2021, section 3.2). */
export interface Windows {
  /** Tokens of a side of the grid. */
  readonly side: number;
  /** Tokens of a side of a window; divides `side`. */
  readonly window: number;
  readonly shift: number;
}

/** The grid moved by `shift` towards its origin in both axes, around the border. `x` is `[side, side, ..]`. */
function roll(scope: LayerScope, x: Value, shift: number): Value {
  const { g } = scope;
  if (shift === 0) return x;
  const side = x.shape[0]!;
  const once = (value: Value, axis: number): Value => {
    const at = (shift + side) % side;
    return g.concat([g.slice(value, axis, at, side), g.slice(value, axis, 0, at)], axis);
  };
  return once(once(x, 0), 1);
}

/** Tokens `[S, b, h, d]`, of which the first side² count, to windows `[window², b · windows, h, d]`. */
export function toWindows(scope: LayerScope, x: Value, { side, window, shift }: Windows): Value {
  const { g } = scope;
  const [, samples, heads, width] = x.shape as readonly [number, number, number, number];
  const count = side / window;
  const grid = g.reshape(g.slice(x, 0, 0, side * side), [side, side, samples, heads, width]);
  const moved = roll(scope, grid, shift);
  const tiles = g.reshape(moved, [count, window, count, window, samples, heads, width]);
  const ordered = g.transpose(tiles, [1, 3, 4, 0, 2, 5, 6]);
  return g.reshape(ordered, [window * window, samples * count * count, heads, width]);
}

/** The inverse of {@link toWindows}; rows beyond the grid are zeros. */
export function fromWindows(
  scope: LayerScope,
  x: Value,
  { side, window, shift }: Windows,
  sequence: number,
): Value {
  const { g } = scope;
  const [, batch, heads, width] = x.shape as readonly [number, number, number, number];
  const count = side / window;
  const samples = batch / (count * count);
  const tiles = g.reshape(x, [window, window, samples, count, count, heads, width]);
  const ordered = g.transpose(tiles, [3, 0, 4, 1, 2, 5, 6]);
  const moved = g.reshape(ordered, [side, side, samples, heads, width]);
  const grid = roll(scope, moved, -shift);
  return g.pad(g.reshape(grid, [side * side, samples, heads, width]), 0, 0, sequence - side * side);
}

/** Row of the bias table for each pair of tokens in a window. */
function windowDistances(window: number): readonly number[] {
  const tokens = Array.from(
    { length: window * window },
    (_, i) => [Math.floor(i / window), i % window] as const,
  );
  return tokens.flatMap(([qy, qx]) =>
    tokens.map(([ky, kx]) => (qy - ky + window - 1) * (2 * window - 1) + (qx - kx + window - 1)),
  );
}

/** Number of the connected region that each token of each shifted window comes from, `[windows, window²]`. */
function regions({ side, window, shift }: Windows): readonly number[] {
  const band = (place: number): number => (place < side - window ? 0 : place < side - shift ? 1 : 2);
  const count = side / window;
  const result: number[] = [];
  for (let wy = 0; wy < count; wy++) {
    for (let wx = 0; wx < count; wx++) {
      for (let i = 0; i < window * window; i++) {
        const y = wy * window + Math.floor(i / window);
        const x = wx * window + (i % window);
        result.push(3 * band(y) + band(x));
      }
    }
  }
  return result;
}

/** What tokens of different regions add to their scores: as good as never, and what the published models add. */
const APART = -100;

/**
 * Bias `[n, heads / t, window², window²]` of this rank's heads: one for all windows, or with a shift one for each
 * window, for there tokens that were not neighbours meet.
 * @param table `[(2 window − 1)², heads]`
 */
export function windowBias(scope: LayerScope, table: Value, windows: Windows): Value {
  const { g } = scope;
  const { side, window, shift } = windows;
  const heads = table.shape[1]!;
  const area = window * window;
  const own = g.transpose(g.embedding(g.transpose(table, [1, 0]), ownHeads(scope, heads), false), [1, 0]);
  const share = own.shape[1]!;
  const index = g.constant(windowDistances(window), "int64", [area * area]);
  const rows = g.embedding(own, index, false);
  const bias = g.reshape(g.transpose(rows, [1, 0]), [1, share, area, area]);
  if (shift === 0) return bias;
  const count = (side / window) ** 2;
  const region = g.constant(regions(windows), "float32", [count, area]);
  const together = g.equal(g.reshape(region, [count, 1, area, 1]), g.reshape(region, [count, 1, 1, area]));
  return g.add(bias, g.where(together, g.scalar(0, bias.dtype), g.scalar(APART, bias.dtype)));
}

/** This rank's rows of a tensor `[rows, b, width]` that every rank holds, zeros beyond its end. */
export function ownPadded(scope: LayerScope, x: Value, sequence: number): Value {
  const { g } = scope;
  const [rows, samples, width] = x.shape as readonly [number, number, number];
  if (scope.degree === 1) return g.pad(x, 0, 0, sequence - rows);
  const flat = g.reshape(x, [rows, samples * width]);
  const own = g.embedding(flat, positionsOf(scope, sequence), true);
  return g.reshape(own, [own.shape[0]!, samples, width]);
}

/**
 * Every 2 × 2 neighbourhood of a grid as one token, columns before rows: (0,0), (1,0), (0,1), (1,1).
 *
 * @param x this rank's rows `[S / t, b, H]`, of which the first side² of all count
 * @returns `[side² / 4, b, 4 H]`, whole on every rank
 */
export function neighbourhoods(scope: LayerScope, x: Value, side: number): Value {
  const { g } = scope;
  const [, samples, hidden] = x.shape as readonly [number, number, number];
  const whole = g.slice(g.allGather(x, scope.degree), 0, 0, side * side);
  const half = side / 2;
  const tiles = g.reshape(whole, [half, 2, half, 2, samples, hidden]);
  return g.reshape(g.transpose(tiles, [0, 2, 4, 3, 1, 5]), [half * half, samples, 4 * hidden]);
}
