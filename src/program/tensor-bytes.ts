import { DTYPE_BYTES, type Dtype } from "../base/units.js";
import { product } from "./flat-layout.js";

/** Bytes of a tensor's values, without what its buffer aligns. */
export function tensorBytes(tensor: { readonly shape: readonly number[]; readonly dtype: Dtype }): number {
  return product(tensor.shape) * DTYPE_BYTES[tensor.dtype];
}
