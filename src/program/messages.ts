import { BYTES_PER_MB } from "../base/units.js";
import { ringVolume } from "../cost/collective-curve.js";
import type { Instruction, InstructionLabel, Program } from "./program.js";
import { tensorBytes } from "./tensor-bytes.js";

/** Messages of one kind that a rank sends in one step. */
export interface Messages {
  /** What they are for: "forward", "gather", "reduce", … */
  readonly phase: InstructionLabel["phase"];
  readonly message:
    | "all-reduce"
    | "all-gather"
    | "reduce-scatter"
    | "all-to-all"
    | "broadcast"
    | "exchange"
    | "send";
  /** Ranks that take part. */
  readonly ranks: number;
  /** How often in a step. */
  readonly times: number;
  /** What this rank sends in all of them, by a bandwidth-optimal algorithm, in 2^20 bytes. */
  readonly sentMB: number;
}

const NAMES = {
  allReduce: "all-reduce",
  allGather: "all-gather",
  reduceScatter: "reduce-scatter",
  allToAll: "all-to-all",
  broadcast: "broadcast",
} as const;

/** What a rank sends in one step, by kind, in the order in which the kinds first occur. */
export function messagesOf(program: Program): readonly Messages[] {
  const rows = new Map<string, Messages>();
  for (const instruction of program.instructions) {
    const sent = sentBy(program, instruction);
    if (!sent) continue;
    const { phase } = instruction.label;
    const key = `${phase} ${sent.message} ${sent.ranks}`;
    const row = rows.get(key) ?? { phase, message: sent.message, ranks: sent.ranks, times: 0, sentMB: 0 };
    rows.set(key, { ...row, times: row.times + 1, sentMB: row.sentMB + sent.bytes / BYTES_PER_MB });
  }
  return [...rows.values()].map((row) => ({ ...row, sentMB: Number(row.sentMB.toFixed(2)) }));
}

function sentBy(
  program: Program,
  instruction: Instruction,
): { readonly message: Messages["message"]; readonly ranks: number; readonly bytes: number } | null {
  const bytes = (tensor: number): number => tensorBytes(program.tensors[tensor]!);
  const groupSize = (group: number): number => program.groups[group]!.length;
  switch (instruction.op) {
    case "allReduce":
    case "allGather":
    case "reduceScatter":
    case "allToAll":
    case "broadcast": {
      const ranks = groupSize(instruction.group);
      const whole = Math.max(bytes(instruction.input), bytes(instruction.output));
      return { message: NAMES[instruction.op], ranks, bytes: whole * ringVolume(instruction.op, ranks) };
    }
    case "exchange":
      return {
        message: "exchange",
        ranks: groupSize(instruction.group),
        bytes: instruction.sends.reduce((sum, { tensor }) => sum + bytes(tensor), 0),
      };
    case "send":
      return { message: "send", ranks: 2, bytes: bytes(instruction.tensor) };
    default:
      return null;
  }
}
