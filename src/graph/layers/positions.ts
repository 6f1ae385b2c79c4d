import type { Value } from "../ir.js";
import type { LayerScope } from "../layer-scope.js";

/** Positions of this rank's share of a sequence, int64 `[S / t]`. */
export function positionsOf(scope: LayerScope, sequence: number): Value {
  const share = scope.share(sequence, "sequence");
  return scope.rankConstant(`positions.${sequence}`, "int64", [share], (rank) =>
    Array.from({ length: share }, (_, i) => rank * share + i),
  );
}
