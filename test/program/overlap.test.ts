import { describe, expect, test } from "vitest";
import { modelSpec } from "../../src/families/registry.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import type { DurationOf } from "../../src/program/simulate.js";
import { simulateTimes } from "../../src/program/simulate.js";
import { isCollective } from "../../src/program/span-kind.js";
import { lower, smallModel } from "./small-model.js";

const model = smallModel(6);

/** Graphs take 10 ms, what moves data between ranks a little less, all else nothing. */
const duration: DurationOf = (program, index) => {
  const instruction = program.instructions[index]!;
  if (instruction.op === "run") return 10;
  const { phase } = instruction.label;
  const moves = isCollective(instruction) || instruction.op === "send" || instruction.op === "receive";
  return moves && phase !== "optimizer" ? 8 : 0;
};

describe("communication hides behind computing", () => {
  test.each([
    // The embedding is last: its own vector and the tied table are reduced when nothing is left to hide behind.
    ["ddp", 2 * 8],
    // Beside that, ZeRO-1 and 2 gather 9 vectors after the update.
    ["zero1", 2 * 8 + 9 * 8],
    // Reducing twice, the head's two vectors are longer than one graph: twice a delay of at most 16.
    ["zero2", 2 * 8 + 9 * 8 + 2 * 16],
    // Gathers of two vectors for one graph: both ends, in both passes, of both micro-batches.
    ["zero3", 2 * 8 + 8 * 8 + 8],
  ] as const)("%s: all but the ends", (dataParallel, exposed) => {
    const plan = uniformPlan(model, { ranks: 2, globalBatch: 4, microBatches: 2, dataParallel });
    const { programs } = lower(model, plan);
    const graphs = programs[0]!.instructions.filter(({ op }) => op === "run").length;
    const { stepMs } = simulateTimes(programs, duration);
    expect(stepMs - graphs * 10).toBeLessThanOrEqual(exposed);
  });

  test.each(["zero2", "zero3"] as const)(
    "%s: backward never waits for the reduction behind it",
    (dataParallel) => {
      const precision = "bfloat16-gradients";
      // Gradients that are larger than activations: as on GPUs, what comes next would take over their place.
      const wide = modelSpec("gpt", { layers: 6, hidden: 64, heads: 8, sequence: 4, vocabulary: 64 });
      const plan = uniformPlan(wide, { ranks: 2, globalBatch: 6, microBatches: 3, dataParallel, precision });
      const { programs } = lower(wide, plan);
      for (const { instructions } of programs) {
        for (const { op, label, waits } of instructions) {
          if (op !== "run" || label.phase !== "backward") continue;
          for (const wait of waits) {
            const other = instructions[wait]!;
            if (other.stream !== "reduce") continue;
            const [own, behind] = [label, other.label].map(
              ({ microBatch, layer }) => microBatch! * 100 - layer!,
            );
            expect(
              own! - behind!,
              `layer ${label.layer} waits for layer ${other.label.layer}`,
            ).toBeGreaterThan(1);
          }
        }
      }
    },
  );

  test("transfers: a pipeline of 1F1B loses no more than one transfer a slot", () => {
    const plan = uniformPlan(model, { ranks: 3, pipelineDegree: 3, globalBatch: 12, microBatches: 12 });
    const { programs } = lower(model, plan);
    const perMicroBatch = programs.map(
      ({ instructions }) => (instructions.filter(({ op }) => op === "run").length / 12) * 10,
    );
    const { stepMs } = simulateTimes(programs, duration);
    const slots = 12 + 2;
    expect(stepMs).toBeLessThanOrEqual(slots * (Math.max(...perMicroBatch) + 2 * 8) + 5 * 8);
  });
});
