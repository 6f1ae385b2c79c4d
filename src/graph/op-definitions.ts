import { COMPOSITE_OPS } from "./composite-ops.js";
import type { OpName } from "./ir.js";
import { COLLECTIVE_OPS } from "./ops/collective-ops.js";
import { ELEMENTWISE_OPS } from "./ops/elementwise-ops.js";
import { INDEX_OPS } from "./ops/index-ops.js";
import { MATMUL_OPS } from "./ops/matmul-ops.js";
import type { OpDefinition } from "./ops/op-definition.js";
import { REDUCE_OPS } from "./ops/reduce-ops.js";
import { SHAPE_OPS } from "./ops/shape-ops.js";

/** Every op with its types, gradient and decomposition. */
export const OP_DEFINITIONS: Readonly<Record<OpName, OpDefinition>> = {
  ...ELEMENTWISE_OPS,
  ...SHAPE_OPS,
  ...REDUCE_OPS,
  ...MATMUL_OPS,
  ...INDEX_OPS,
  ...COLLECTIVE_OPS,
  ...COMPOSITE_OPS,
};
