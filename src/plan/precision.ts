import type { Precision } from "./plan.js";

export const PRECISIONS: readonly Precision[] = ["float32", "bfloat16", "bfloat16-gradients"];

/** Element type in which layers compute and activations cross borders. */
export function computeDtype(precision: Precision): "float32" | "bfloat16" {
  return precision === "float32" ? "float32" : "bfloat16";
}

/** Element type in which gradients of parameters leave backward and are reduced over ranks. */
export function gradientDtype(precision: Precision): "float32" | "bfloat16" {
  return precision === "bfloat16-gradients" ? "bfloat16" : "float32";
}
