import type { Dtype } from "../base/units.js";

/** One value that enters or leaves a graph. */
export interface GraphPort {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** One ONNX graph. Its bytes stand in a {@link GraphStore} under `id`, the hash of the bytes. */
export interface GraphRef {
  readonly id: string;
  readonly name: string;
  readonly inputs: readonly GraphPort[];
  readonly outputs: readonly GraphPort[];
  /** Floating-point operations of one run (a multiply-add counts two). */
  readonly flops: number;
}

/** ONNX bytes by content hash, shared by all ranks and all layers alike. */
export type GraphStore = ReadonlyMap<string, Uint8Array>;
