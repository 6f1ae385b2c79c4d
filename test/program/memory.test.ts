import { describe, expect, test } from "vitest";
import { uniformPlan } from "../../src/plan/uniform.js";
import { describeProgram } from "../../src/program/describe-program.js";
import { BUFFER_CATEGORIES, memoryTimeline, peakMemory } from "../../src/program/memory.js";
import { lower, smallModel } from "./small-model.js";

const model = smallModel(4);

describe("memory follows from lifetimes", () => {
  const plan = uniformPlan(model, {
    ranks: 4,
    tensorDegree: 2,
    globalBatch: 16,
    microBatches: 2,
    dataParallel: "zero3",
  });
  const { programs } = lower(model, plan);

  test.each(programs)("of rank $rank, instruction by instruction", (program) => {
    const { total, bytes } = memoryTimeline(program);
    for (const [index] of program.instructions.entries()) {
      const live = program.buffers.filter(
        ({ persistent, first, last }) => persistent || (first <= index && index <= last),
      );
      expect(total[index]).toBe(live.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
      for (const category of BUFFER_CATEGORIES) {
        const own = live.filter((buffer) => buffer.category === category);
        expect(bytes[category][index]).toBe(own.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
      }
    }
    const peak = peakMemory(program);
    expect(peak.liveBytes).toBe(Math.max(...total));
    expect(total[peak.instruction]).toBe(peak.liveBytes);
    expect(Object.values(peak.byCategory).reduce((sum, one) => sum + one, 0)).toBe(peak.liveBytes);
    expect(peak.arenaBytes).toBeGreaterThanOrEqual(peak.liveBytes);
  });
});

/** Bytes of one category at the peak of rank 0. */
function atPeak(
  category: (typeof BUFFER_CATEGORIES)[number],
  options: Partial<Parameters<typeof uniformPlan>[1]>,
): number {
  const plan = uniformPlan(model, { ranks: 4, globalBatch: 32, ...options });
  return peakMemory(lower(model, plan).programs[0]!).byCategory[category];
}

describe("what each dimension saves", () => {
  test("ZeRO cuts optimizer states, then gradients, then parameters by the data degree", () => {
    const [ddp, zero1] = [atPeak("optimizer", {}), atPeak("optimizer", { dataParallel: "zero1" })];
    expect(zero1).toBeGreaterThanOrEqual(ddp / 4);
    expect(zero1).toBeLessThan((ddp / 4) * 1.05);
    const parameters = atPeak("parameter", { dataParallel: "zero2" });
    expect(atPeak("parameter", { dataParallel: "zero3" })).toBeCloseTo(parameters / 4, -3);
  });

  test("recompute keeps the layers' inputs only", () => {
    const kept = atPeak("activation", {});
    expect(atPeak("activation", { recompute: true })).toBeLessThan(kept / 2);
  });

  test("1F1B holds fewer activations than GPipe", () => {
    const many = { pipelineDegree: 2, microBatches: 8 } as const;
    const gpipe = atPeak("activation", { ...many, schedule: "gpipe" });
    expect(atPeak("activation", many)).toBeLessThan(gpipe / 3);
  });
});

test("a program is described line by line", () => {
  const { programs } = lower(model, uniformPlan(model, { ranks: 2, pipelineDegree: 2, globalBatch: 4 }));
  const lines = describeProgram(programs[0]!);
  expect(lines).toHaveLength(2 + programs[0]!.groups.length + programs[0]!.instructions.length);
  expect(lines.join("\n")).toMatch(/send .* to 1 \(\d+ bytes\)/);
  expect(describeProgram(programs[0]!, 3).at(-1)).toMatch(/… \d+ more/);
});
