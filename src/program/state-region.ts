import { isState } from "./plan-arena.js";
import type { BufferPlan, Program } from "./program.js";

/** Bytes from the start of the arena in which a rank's parameters and moments lie, and nothing else. */
export function stateBytes(program: Program): number {
  return Math.max(0, ...program.buffers.filter(isState).map((one) => one.offsetBytes + one.sizeBytes));
}

/** Whether one Program may go on from the states that the other left in the arena: all lie at the same addresses. */
export function keepsStates(before: Program, after: Program): boolean {
  const states = ({ buffers }: Program): readonly BufferPlan[] => buffers.filter(isState);
  const others = states(after);
  const alike = ({ name, offsetBytes, sizeBytes }: BufferPlan, index: number): boolean => {
    const other = others[index];
    return other?.name === name && other.offsetBytes === offsetBytes && other.sizeBytes === sizeBytes;
  };
  return (
    before.rank === after.rank &&
    before.arenaBytes === after.arenaBytes &&
    states(before).length === others.length &&
    states(before).every(alike)
  );
}
