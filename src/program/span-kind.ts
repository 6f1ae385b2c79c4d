import type { CollectiveInstruction, Instruction } from "./program.js";
import type { SpanKind } from "./timeline.js";

/** What a span of this instruction counts as. */
export function spanKind(instruction: Instruction): SpanKind {
  const { phase } = instruction.label;
  switch (phase) {
    case "gather":
    case "reduce":
      return "data";
    case "transfer":
      return "pipeline";
    case "relayout":
    case "optimizer":
      return phase;
    default:
      if (isCollective(instruction)) return "tensor";
      return phase === "recompute" ? "recompute" : "compute";
  }
}

/** Collectives and exchanges: what every member of a group issues together. */
export function isCollective(instruction: Instruction): boolean {
  switch (instruction.op) {
    case "allReduce":
    case "allGather":
    case "reduceScatter":
    case "allToAll":
    case "broadcast":
    case "exchange":
      return true;
    default:
      return false;
  }
}

/** Reductions that leave each rank its shard, behind backward. */
export function scattersGradients({ op, stream }: Instruction): boolean {
  return op === "reduceScatter" && stream === "reduce";
}

/** ZeRO's gathers, of parameters as the last step left them. */
export function gathersParameters(instruction: Instruction): instruction is CollectiveInstruction {
  return instruction.op === "allGather" && instruction.label.phase === "gather";
}
