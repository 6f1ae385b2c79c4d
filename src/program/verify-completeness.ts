import { forEachRead, forEachWrite } from "./instruction-access.js";
import type { Program } from "./program.js";
import { readState } from "./read-state.js";

/**
 * Nothing is missing and nothing is idle: every shard is updated once and with its own states, and gathered again where the
 * next step expects that; every input is read, the gradients are clipped, and no instruction does work that nobody reads.
 */
export function completenessProblems(program: Program): readonly string[] {
  const problems: string[] = [];
  const say = (text: string): void => {
    problems.push(`rank ${program.rank}: ${text}`);
  };
  const { buffers, tensors, instructions } = program;
  const read = new Set<number>();
  const updates = new Map<number, number>();
  let clips = 0;
  for (const instruction of instructions) {
    if (instruction.op === "accumulate") read.add(tensors[instruction.input]!.buffer);
    else forEachRead(instruction, (tensor) => read.add(tensors[tensor]!.buffer));
    if (instruction.op === "clip") clips++;
    if (instruction.op === "adamw")
      updates.set(instruction.moment1, (updates.get(instruction.moment1) ?? 0) + 1);
  }
  for (const [index, instruction] of instructions.entries()) {
    let writes = 0;
    let useful = false;
    forEachWrite(instruction, (tensor) => {
      writes++;
      const { buffer } = tensors[tensor]!;
      useful ||= buffers[buffer]!.persistent || read.has(buffer);
    });
    if (writes > 0 && !useful) say(`nobody reads what instruction ${index} (${instruction.op}) writes`);
  }
  for (const flat of program.flats) {
    const times = updates.get(flat.moment1) ?? 0;
    if (times !== 1) say(`the parameters of layer ${flat.layer} are updated ${times} times`);
    if (!flat.wholeBetweenSteps) continue;
    const whole = flat[readState(flat)];
    const update = instructions.findIndex((it) => it.op === "adamw" && it.moment1 === flat.moment1);
    const gathers = instructions.some(
      (it, at) => at > update && it.op === "allGather" && it.output === whole,
    );
    if (!gathers) say(`the parameters of layer ${flat.layer} are not gathered behind their update`);
  }
  if (clips !== 1) say(`the gradients are clipped ${clips} times`);
  for (const [key, byMicroBatch] of Object.entries(program.io.inputs)) {
    for (const [microBatch, tensor] of byMicroBatch.entries()) {
      if (!read.has(tensors[tensor]!.buffer)) say(`nobody reads "${key}" of micro-batch ${microBatch}`);
    }
  }
  return problems;
}
