/** Content of one tensor of a Program. */
export interface TensorBytes {
  readonly tensor: number;
  readonly bytes: Uint8Array;
}
