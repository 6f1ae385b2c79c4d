/**
 * The layer problem: one strategy per layer, so that the sum of layer times and switch times is least and the
 * memory of all layers together stays within a budget. Rows of the tables belong to kinds of layers, because
 * equal layers have equal rows.
 */
export interface LayerTables {
  /** Number of strategies S: columns of every table. */
  readonly strategies: number;
  /** Time of a layer, kinds × S, any one unit. `Infinity` forbids the strategy for that kind. */
  readonly time: Float64Array;
  /** Memory of a layer, kinds × S, whole units (the ancestor counts whole MB). */
  readonly memory: Int32Array;
  /** Time of entering a layer of a kind, kinds × S (before) × S (of that layer). */
  readonly switchTime: Float64Array;
}

export interface LayerSolution {
  /** Least sum of layer and switch times. */
  readonly time: number;
  /** Memory of the chosen strategies, at most the budget. */
  readonly memory: number;
  /** Strategy of every layer. */
  readonly strategies: Int32Array;
}

/** Differences below this share of the optimum count as ties. */
export const TIE: number = 1e-12;
