import { assertNever } from "../base/errors.js";
import type { Instruction } from "./program.js";

/** Calls `visit` with every tensor that the instruction reads. */
export function forEachRead(instruction: Instruction, visit: (tensor: number) => void): void {
  switch (instruction.op) {
    case "run":
      for (const tensor of instruction.inputs) visit(tensor);
      return;
    case "sumSquares":
      for (const tensor of instruction.inputs) visit(tensor);
      if (instruction.accumulates) visit(instruction.output);
      return;
    case "allReduce":
    case "allGather":
    case "reduceScatter":
    case "allToAll":
    case "broadcast":
      visit(instruction.input);
      if (instruction.accumulates) visit(instruction.output);
      return;
    case "copy":
    case "copyBlock":
      visit(instruction.input);
      return;
    case "accumulate":
      visit(instruction.input);
      visit(instruction.output);
      return;
    case "send":
      visit(instruction.tensor);
      return;
    case "exchange":
      for (const piece of instruction.sends) visit(piece.tensor);
      return;
    case "clip":
      visit(instruction.sumSquares);
      visit(instruction.hyper);
      return;
    case "adamw":
      visit(instruction.parameter);
      visit(instruction.gradient);
      visit(instruction.moment1);
      visit(instruction.moment2);
      visit(instruction.hyper);
      visit(instruction.clip);
      return;
    case "receive":
    case "fill":
      return;
    default:
      assertNever(instruction);
  }
}

/** Calls `visit` with every tensor that the instruction writes, in whole or (copyBlock) in part. */
export function forEachWrite(instruction: Instruction, visit: (tensor: number) => void): void {
  switch (instruction.op) {
    case "run":
      for (const tensor of instruction.outputs) visit(tensor);
      return;
    case "allReduce":
    case "allGather":
    case "reduceScatter":
    case "allToAll":
    case "broadcast":
    case "copy":
    case "copyBlock":
    case "accumulate":
    case "fill":
    case "sumSquares":
    case "clip":
      visit(instruction.output);
      return;
    case "receive":
      visit(instruction.tensor);
      return;
    case "exchange":
      for (const piece of instruction.receives) visit(piece.tensor);
      return;
    case "adamw":
      visit(instruction.parameter);
      visit(instruction.moment1);
      visit(instruction.moment2);
      if (instruction.computeCopy >= 0) visit(instruction.computeCopy);
      return;
    case "send":
      return;
    default:
      assertNever(instruction);
  }
}
