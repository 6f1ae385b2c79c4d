import { describe, expect, it } from "vitest";
import { isGalvatronError } from "../../src/base/errors.js";
import { BYTES_PER_MB } from "../../src/base/units.js";
import { layerLookup } from "../../src/cost/layer-lookup.js";
import { stageWorkspaceBytes } from "../../src/cost/stage-workspace.js";
import { modelSpec } from "../../src/families/registry.js";
import { analyticProfile } from "../../src/model/analytic-profile.js";
import { stageOfRank } from "../../src/plan/stages.js";
import { type UniformPlanOptions, uniformPlan } from "../../src/plan/uniform.js";
import { copiedCollectives } from "../../src/program/copied-collectives.js";
import { compilePlan } from "../../src/runtime/compile-plan.js";
import { hostMachine } from "../../src/runtime/machine.js";
import { leastMemories } from "../../src/search/least-memory.js";
import { search } from "../../src/search/search.js";
import { type FoundPlan, planByHand, searchPlan } from "../../src/session/find-plan.js";
import { exampleHardware } from "../search/example-inputs.js";

const model = modelSpec("gpt", { layers: 6, hidden: 128, heads: 4, sequence: 128 });
const hardware = exampleHardware(4);
const modelProfile = analyticProfile(model, hardware);
const within = (budgetBytes: number): FoundPlan =>
  searchPlan({
    model,
    modelProfile,
    machine: { machine: hostMachine(4), hardware, elsewhere: false },
    budgetBytes,
    options: { globalBatch: 8 },
  });
/** What a plan needs of a budget: its prediction, and by how much one has been off. */
const fullest = (found: FoundPlan): number => Math.ceil(Math.max(...found.memoryBytesByRank) * 1.02);

describe("searchPlan", () => {
  it("keeps the compiled Programs within every budget, and proves its bound for that budget", () => {
    const roomy = within(4096 * BYTES_PER_MB);
    const smallest = roomy.report.smallestBudgetBytes;
    expect(smallest).toBeLessThan(fullest(roomy));
    let last = roomy.report.lowerBoundMs;
    let lastMs = 0;
    for (const share of [1, 0.75, 0.5, 0.25, 0.1, 0]) {
      const budget = Math.ceil(smallest + share * (fullest(roomy) - smallest));
      const { report, memoryBytesByRank } = within(budget);
      expect(Math.max(...memoryBytesByRank)).toBeLessThanOrEqual(budget);
      expect(report.budgetBytes).toBe(budget);
      expect(report.lowerBoundMs).toBeLessThanOrEqual(report.prediction.stepMs);
      expect(report.gap).toBeCloseTo(1 - report.lowerBoundMs / report.prediction.stepMs, 9);
      // Proven with the whole budget, not with what a second search was left.
      const whole = search({ model, modelProfile, hardware, budgetBytes: budget, globalBatch: 8 });
      expect(report.lowerBoundMs).toBeLessThanOrEqual(whole.lowerBoundMs * (1 + 1e-9));
      // With less memory nothing gets faster.
      expect(report.lowerBoundMs).toBeGreaterThanOrEqual(last * (1 - 1e-9));
      last = report.lowerBoundMs;
      expect(report.prediction.stepMs).toBeGreaterThanOrEqual(lastMs);
      lastMs = report.prediction.stepMs;
    }
  });

  it("names the smallest budget, and a plan fits it", () => {
    let error: unknown = null;
    try {
      within(BYTES_PER_MB);
    } catch (caught) {
      error = caught;
    }
    expect(isGalvatronError(error) && error.code).toBe("NO_FEASIBLE_PLAN");
    const smallest = isGalvatronError(error) ? Number(error.context.smallestBudgetBytes) : Number.NaN;
    expect(fullest(within(smallest))).toBeLessThanOrEqual(smallest);
    expect(() => within(smallest - 1)).toThrow(/smallest budget/);
  });

  it("names the smallest budget by what is compiled: no outer choice has leaner Programs", () => {
    const { smallestBudgetBytes } = within(4096 * BYTES_PER_MB).report;
    const machine = { machine: hostMachine(4), hardware, elsewhere: false };
    for (const { outer, bytes } of leastMemories({ model, modelProfile, hardware, globalBatch: 8 })) {
      const space = {
        microBatches: outer.microBatches,
        pipelineDegrees: [outer.stages],
        schedules: [outer.schedule],
      };
      for (const more of [1, 1.1]) {
        const budgetBytes = Math.ceil(bytes * more);
        const { plan } = search({ model, modelProfile, hardware, budgetBytes, globalBatch: 8, space });
        const found = planByHand({ model, modelProfile, machine, plan });
        expect(fullest(found), JSON.stringify(outer)).toBeGreaterThanOrEqual(smallestBudgetBytes);
      }
    }
  }, 60_000);
});

describe("memory on a device", () => {
  const held = { first: 10_000, group: 1_000, ring: 500, peer: 50, transfer: 5 };
  const few = { graphs: 6, bytes: 1e6, connected: false };
  const base = { few, many: few };
  const host = hostMachine(4);
  const device = { ...host, cluster: { ...host.cluster, device: "cuda" as const } };
  /** What each rank needs beside its arena and its graphs' workspace. */
  const besides = (options: Partial<UniformPlanOptions>, own = base): readonly number[] => {
    const plan = uniformPlan(model, { ranks: 4, globalBatch: 8, ...options });
    const found = planByHand({
      model,
      modelProfile: { ...modelProfile, held: own },
      machine: { machine: device, hardware: { ...hardware, held }, elsewhere: false },
      plan,
    });
    return found.lowered.programs.map((program, rank) => {
      const stage = stageOfRank(plan, rank);
      const workspace = stageWorkspaceBytes(layerLookup(modelProfile), model, plan, stage);
      return found.memoryBytesByRank[rank]! - program.arenaBytes - workspace;
    });
  };

  it("counts communication once, and every group, ring and transfer", () => {
    // Reductions alone.
    expect(besides({})).toEqual(new Array(4).fill(1e6 + 10_000 + 1_500));
    const transfers = besides({ pipelineDegree: 2, microBatches: 2 }).map((bytes) => (bytes - 1e6) % 500);
    expect(transfers).toEqual(new Array(4).fill(2 * 5));
  });

  it("counts the page tables of arenas that are copied from, and where pieces are added", () => {
    const wide = modelSpec("gpt", { layers: 3, hidden: 256, heads: 4, sequence: 32, vocabulary: 61 });
    for (const dataParallel of ["zero3", "zero2"] as const) {
      const plan = uniformPlan(wide, { ranks: 4, globalBatch: 8, dataParallel });
      const { lowered, memoryBytesByRank } = planByHand({
        model: wide,
        modelProfile: { ...analyticProfile(wide, hardware), held: base },
        machine: { machine: device, hardware: { ...hardware, held }, elsewhere: false },
        plan,
      });
      const [program] = lowered.programs;
      const workspace = stageWorkspaceBytes(layerLookup(analyticProfile(wide, hardware)), wide, plan, 0);
      const { stagingBytes } = copiedCollectives(program!);
      expect(stagingBytes).toBeGreaterThan(0);
      // Gathers and reductions are two groups, and rings but for gathers that are all copied; three other ranks are opened.
      const rings = dataParallel === "zero3" ? 2 : 1;
      const others = 1e6 + 10_000 + 2 * 1_000 + rings * 500 + (3 * program!.arenaBytes) / 512 + stagingBytes;
      expect(memoryBytesByRank[0]! - program!.arenaBytes - workspace).toBeCloseTo(others, 3);
    }
  });

  it("counts what more graphs hold, whether or not it was measured with communication", () => {
    const graphs = (options: Partial<UniformPlanOptions>): number =>
      compilePlan(model, uniformPlan(model, { ranks: 4, globalBatch: 8, ...options })).programs[0]!.graphs
        .length;
    const split = { tensorDegree: 4, tensorSplit: "sequence" } as const;
    const more = graphs(split) - 6;
    expect(more).toBeGreaterThan(0);
    const apart = { few, many: { graphs: 16, bytes: 1e6 + 10 * 300, connected: false } };
    const connected = { few, many: { graphs: 16, bytes: 1e6 + 10 * 300 + held.first, connected: true } };
    for (const own of [apart, connected]) {
      expect(besides(split, own)[0]! - besides(split)[0]!).toBeCloseTo(more * 300, 3);
      expect(besides({}, own)).toEqual(besides({}));
    }
  });
});

describe("planByHand", () => {
  it("says in words that a machine has another number of ranks", () => {
    const machine = { machine: hostMachine(4), hardware, elsewhere: false };
    const plan = uniformPlan(model, { ranks: 2, globalBatch: 8 });
    expect(() => planByHand({ model, modelProfile, machine, plan })).toThrow(
      /for 2 ranks, but .* has 1 × 4 = 4/,
    );
  });
});
