import { describe, expect, test } from "vitest";
import { modelSpec } from "../../src/families/registry.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import type { DurationOf } from "../../src/program/simulate.js";
import { simulateTimes } from "../../src/program/simulate.js";
import { isCollective } from "../../src/program/span-kind.js";
import { lower, smallModel } from "./small-model.js";

const model = smallModel(6);

/** Graphs and updates take 10 ms, what moves data between ranks a little less, all else nothing. */
const duration: DurationOf = (program, index) => {
  const instruction = program.instructions[index]!;
  if (instruction.op === "run" || instruction.op === "adamw") return 10;
  const { phase } = instruction.label;
  const moves = isCollective(instruction) || instruction.op === "send" || instruction.op === "receive";
  return moves && phase !== "optimizer" ? 8 : 0;
};

describe("communication hides behind computing", () => {
  test.each([
    // The embedding is last: its own vector and the tied table are reduced when nothing is left to hide behind.
    ["ddp", 2 * 8],
    // What the embedding reads and the first layer's was gathered behind the update.
    ["zero1", 2 * 8],
    // Reducing twice, the head's two vectors are longer than one graph.
    ["zero2", 2 * 8 + 2 * 6],
    // Gathers of two vectors for one graph, at both ends.
    ["zero3", 2 * 8 + 5 * 8],
  ] as const)("%s: all but the ends", (dataParallel, exposed) => {
    const plan = uniformPlan(model, { ranks: 2, globalBatch: 4, microBatches: 2, dataParallel });
    const { programs } = lower(model, plan);
    const computing = programs[0]!.instructions.filter(({ op }) => op === "run" || op === "adamw").length;
    const { stepMs } = simulateTimes(programs, duration);
    expect(stepMs - computing * 10).toBeLessThanOrEqual(exposed);
  });

  test.each(["zero2", "zero3"] as const)("%s: nothing waits for the reduction behind it", (dataParallel) => {
    const precision = "bfloat16-gradients";
    // Gradients that are larger than activations: as on GPUs, what comes next would take over their place.
    const wide = modelSpec("gpt", { layers: 6, hidden: 64, heads: 8, sequence: 4, vocabulary: 64 });
    const plan = uniformPlan(wide, { ranks: 2, globalBatch: 6, microBatches: 3, dataParallel, precision });
    const { programs } = lower(wide, plan);
    for (const { instructions } of programs) {
      for (const { op, label, waits } of instructions) {
        if (op !== "run") continue;
        for (const wait of waits) {
          const other = instructions[wait]!;
          if (other.stream !== "reduce") continue;
          if (label.phase === "forward") {
            // The embedding's is too short to hide anything, so layer 0 does not wait either.
            expect([label.layer, other.label.layer]).not.toEqual([0, -1]);
            continue;
          }
          const [own, behind] = [label, other.label].map(
            ({ microBatch, layer }) => microBatch! * 100 - layer!,
          );
          expect(own! - behind!, `layer ${label.layer} waits for layer ${other.label.layer}`).toBeGreaterThan(
            1,
          );
        }
      }
    }
  });

  test("zero3: layer 0 of a micro-batch is gathered while the last one's backward ends", () => {
    const plan = uniformPlan(model, { ranks: 2, globalBatch: 4, microBatches: 2, dataParallel: "zero3" });
    for (const { instructions } of lower(model, plan).programs) {
      const at = (op: string, phase: string, layer: number): number[] =>
        instructions.flatMap((one, index) =>
          one.op === op && one.label.phase === phase && one.label.layer === layer ? [index] : [],
        );
      const [embeddingBackward] = at("run", "backward", -1);
      const forward = at("run", "forward", 0).find((index) => index > embeddingBackward!)!;
      const gather = at("allGather", "gather", 0)
        .filter((index) => index < forward)
        .at(-1)!;
      expect(gather).toBeLessThan(embeddingBackward!);
    }
  });

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
