import fc from "fast-check";
import { expect, test } from "vitest";
import { modelSpec } from "../../src/families/registry.js";
import type { ModelSpec } from "../../src/model/model-spec.js";
import { describePlan } from "../../src/plan/describe-plan.js";
import { PRECISIONS } from "../../src/plan/precision.js";
import type { DataParallel } from "../../src/plan/strategy.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { copiedCollectives } from "../../src/program/copied-collectives.js";
import { forEachWrite } from "../../src/program/instruction-access.js";
import type { CollectiveInstruction, Program } from "../../src/program/program.js";
import { readState } from "../../src/program/read-state.js";
import { gathersParameters } from "../../src/program/span-kind.js";
import { tensorBytes } from "../../src/program/tensor-bytes.js";
import { drawnPlan } from "./drawn-plan.js";
import { lower, smallModel } from "./small-model.js";

// What native/cuda/peer-memory.h rests on, where no GPU is needed to see it.

const collectiveAt = (program: Program, index: number): CollectiveInstruction =>
  program.instructions[index] as CollectiveInstruction;
const bufferOf = (program: Program, tensor: number): number => program.tensors[tensor]!.buffer;

/** Instructions that have ended when instruction `index` begins: its waits, what comes before on its stream, and theirs. */
function before({ instructions }: Program, index: number): ReadonlySet<number> {
  const found = new Set<number>();
  const open = [index];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const { stream, waits } = instructions[at]!;
    let previous = at - 1;
    while (previous >= 0 && instructions[previous]!.stream !== stream) previous--;
    for (const other of previous >= 0 ? [...waits, previous] : waits) {
      if (found.has(other)) continue;
      found.add(other);
      open.push(other);
    }
  }
  return found;
}

/** Gathers on the stream of gathers whose input lies in memory that lasts and that no earlier instruction has written. */
function atRest(program: Program): readonly number[] {
  const written = new Set<number>();
  return program.instructions.flatMap((instruction, index) => {
    const rests =
      instruction.op === "allGather" &&
      instruction.stream === "gather" &&
      program.buffers[bufferOf(program, instruction.input)]!.persistent &&
      !written.has(bufferOf(program, instruction.input));
    forEachWrite(instruction, (tensor) => written.add(bufferOf(program, tensor)));
    return rests ? [index] : [];
  });
}

/** Without the first of each group, which all of its ranks join. */
function withoutFirst(program: Program, gathers: readonly number[]): readonly number[] {
  const met = new Set<number>();
  return gathers.filter((index) => {
    const { group } = collectiveAt(program, index);
    const again = met.has(group);
    met.add(group);
    return again;
  });
}

/** Reductions over the same ranks, in the order in which all of them join. */
const reductions = ({ instructions, groups }: Program, ranks: string): readonly number[] =>
  instructions.flatMap((one, index) =>
    one.stream === "reduce" && "group" in one && groups[one.group]!.join() === ranks ? [index] : [],
  );

test("gathers that may be copied are those of parameters, and no owner updates before all have used what they copied", () => {
  const plans = fc.record({
    ranks: fc.constantFrom(2, 4, 8),
    globalBatch: fc.constantFrom(8, 16),
    layers: fc.integer({ min: 1, max: 4 }),
    tied: fc.boolean(),
    precision: fc.constantFrom(...PRECISIONS),
    choices: fc.infiniteStream(fc.nat()),
  });
  let copied = 0;
  fc.assert(
    fc.property(plans, ({ ranks, globalBatch, layers, tied, precision, choices }) => {
      const model = smallModel(layers, { tied });
      const pick = (count: number): number => choices.next().value! % count;
      const plan = drawnPlan(model, { ranks, globalBatch, precision }, pick);
      const { programs } = lower(model, plan);
      const told = describePlan(plan).join("\n");
      for (const owner of programs) {
        const gathers = atRest(owner);
        // What is gathered behind its update is new.
        const ahead = owner.flats.flatMap((flat) => (flat.wholeBetweenSteps ? [flat[readState(flat)]] : []));
        const byLabel = owner.instructions.flatMap((one, index) =>
          gathersParameters(one) && !ahead.includes(one.output) ? [index] : [],
        );
        expect(gathers, told).toEqual(byLabel);
        const { gathers: plain, toldGathers } = copiedCollectives(owner);
        const withoutWord = withoutFirst(owner, gathers);
        expect(plain, told).toEqual(withoutWord);
        // Behind its update, or beside another layer's forward.
        const computed = owner.instructions.find(({ op, label }) => op === "run" && label.layer! >= 0)!;
        for (const [index, one] of owner.instructions.entries()) {
          if (!gathersParameters(one) || withoutWord.includes(index)) continue;
          const waits = ahead.includes(one.output) || one.label.layer! > computed.label.layer!;
          expect(toldGathers.includes(index), `gather ${index}\n${told}`).toBe(waits);
        }
        for (const [update, instruction] of owner.instructions.entries()) {
          if (instruction.op !== "adamw") continue;
          const states = [instruction.parameter, instruction.computeCopy]
            .filter((tensor) => tensor >= 0)
            .map((tensor) => bufferOf(owner, tensor));
          const gather = gathers
            .map((index) => collectiveAt(owner, index))
            .find(({ input }) => states.includes(bufferOf(owner, input)));
          if (gather === undefined) continue;
          const group = owner.groups[gather.group]!;
          const name = owner.tensors[gather.input]!.name;
          const ended = before(owner, update);
          const joined = reductions(owner, group.join()).filter((index) => ended.has(index)).length;
          for (const other of group) {
            const program = programs[other]!;
            const meeting = reductions(program, group.join())[joined - 1];
            expect(meeting, `rank ${owner.rank} updates behind no reduction\n${told}`).toBeDefined();
            const used = before(program, meeting!);
            for (const index of atRest(program)) {
              if (program.tensors[collectiveAt(program, index).input]!.name !== name) continue;
              copied++;
              expect(used.has(index), `rank ${other} still reads what ${owner.rank} writes\n${told}`).toBe(
                true,
              );
            }
          }
        }
      }
    }),
    { numRuns: 40 },
  );
  expect(copied).toBeGreaterThan(100);
});

const wide = modelSpec("gpt", { layers: 4, hidden: 128, heads: 8, sequence: 16, vocabulary: 61 });

test("reductions are copied where another layer's backward hides them, the same ones on every rank", () => {
  const reductions = (model: ModelSpec, dataParallel: DataParallel): readonly number[][] => {
    const { programs } = lower(model, uniformPlan(model, { ranks: 4, globalBatch: 8, dataParallel }));
    return programs.map((program) => [...copiedCollectives(program).reductions]);
  };
  // A layer has 12 × 32² weights: pieces of 12 kB, too little to copy.
  expect(reductions(smallModel(4), "zero3")).toEqual([[], [], [], []]);
  for (const dataParallel of ["zero1", "zero2", "zero3"] as const) {
    const [first, ...others] = reductions(wide, dataParallel);
    // The first one's and the embedding's come last.
    expect(first).toHaveLength(wide.layers.length - 1);
    for (const other of others) expect(other).toEqual(first);
  }
  expect(reductions(wide, "ddp").flat()).toEqual([]);
});

test("pieces are copied to as much memory as the largest part of one takes", () => {
  const { programs } = lower(wide, uniformPlan(wide, { ranks: 4, globalBatch: 8, dataParallel: "zero2" }));
  const [program] = programs;
  const { reductions, stagingBytes } = copiedCollectives(program!);
  const pieces = reductions.map((index) =>
    tensorBytes(program!.tensors[collectiveAt(program!, index).output]!),
  );
  expect(stagingBytes).toBe(3 * Math.max(...pieces));
});
