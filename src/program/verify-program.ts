import type { ModelSpec } from "../model/model-spec.js";
import { verifyPlan } from "../plan/verify-plan.js";
import { executionOrder } from "./execution-order.js";
import type { Program } from "./program.js";
import { findRendezvous } from "./rendezvous.js";
import { completenessProblems } from "./verify-completeness.js";
import { gradientProblems } from "./verify-gradients.js";
import { meetingProblems } from "./verify-meetings.js";
import { memoryProblems } from "./verify-memory.js";
import { normProblems } from "./verify-norm.js";
import { shapeProblems } from "./verify-shapes.js";

/**
 * Proves that the programs of all ranks fit together before anything runs: operands and lifetimes fit, every byte is
 * written before it is read and every conflict is ordered by waits, collectives and transfers match, nothing
 * deadlocks, every parameter is updated once, and every gradient element is the sum of every micro-batch's share,
 * counted once, in it and in the global norm. `programs` are those of all ranks, in order. Every problem in words; empty
 * when there is none.
 */
export function verifyProgram(programs: readonly Program[], model?: ModelSpec): readonly string[] {
  const problems: string[] = [];
  for (const [rank, program] of programs.entries()) {
    if (program.rank !== rank) problems.push(`program ${rank} says it is for rank ${program.rank}`);
  }
  const { plan } = programs[0]!;
  if (programs.length !== plan.ranks) problems.push(`${programs.length} programs for ${plan.ranks} ranks`);
  if (model !== undefined) problems.push(...verifyPlan(model, plan));
  for (const program of programs) problems.push(...shapeProblems(program));
  if (problems.length > 0) return problems; // what follows reads through the indices that these check
  for (const program of programs) problems.push(...memoryProblems(program), ...completenessProblems(program));
  problems.push(...normProblems(programs));
  const rendezvous = findRendezvous(programs);
  problems.push(...meetingProblems(programs, rendezvous));
  const execution = executionOrder(programs, rendezvous);
  for (const [rank, index] of execution.stuck) {
    const { op, stream } = programs[rank]!.instructions[index]!;
    problems.push(`deadlock: rank ${rank} never gets past instruction ${index} (${op} on ${stream})`);
  }
  if (problems.length === 0) problems.push(...gradientProblems(programs, rendezvous, execution));
  return problems;
}
