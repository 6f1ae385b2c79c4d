/**
 * Units. One MB is 2^20 bytes and one GB is 2^30 bytes everywhere in this project; names end in their unit
 * (`timeMs`, `sizeBytes`, `bandwidthGBps`, where GBps is 10^9 bytes per second, as vendors count).
 */
export const BYTES_PER_MB: number = 2 ** 20;
export const BYTES_PER_GB: number = 2 ** 30;

/** Element types of tensors. */
export type Dtype = "float32" | "float64" | "bfloat16" | "float16" | "int64" | "int32" | "uint8" | "bool";

/** Bytes of one element. */
export const DTYPE_BYTES: Readonly<Record<Dtype, number>> = {
  float32: 4,
  float64: 8,
  bfloat16: 2,
  float16: 2,
  int64: 8,
  int32: 4,
  uint8: 1,
  bool: 1,
};
