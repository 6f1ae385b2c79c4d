/** Which state of a flat vector graphs read: the bfloat16 copy, or without one the parameters themselves. */
export function readState({ computeCopy }: { readonly computeCopy: number }): "computeCopy" | "parameter" {
  return computeCopy >= 0 ? "computeCopy" : "parameter";
}
