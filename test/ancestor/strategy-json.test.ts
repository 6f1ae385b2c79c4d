import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  readStrategyConfig,
  type StrategyConfig,
  strategyFileName,
  writeStrategyConfig,
} from "../../src/ancestor/strategy-json.js";
import { isGalvatronError } from "../../src/base/errors.js";
import type { Plan } from "../../src/plan/plan.js";
import type { DataParallel, Strategy } from "../../src/plan/strategy.js";
import { hasOracle, type Loose, oracleCases } from "./oracle.js";

/** Plans that the format can express. */
const expressible: fc.Arbitrary<Plan> = fc
  .record({
    stages: fc.constantFrom(1, 2, 4),
    stageRanks: fc.constantFrom(1, 2, 4, 6, 8),
    perStage: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 4, maxLength: 4 }),
    shared: fc.constantFrom<DataParallel>("ddp", "zero2"),
    microBatches: fc.integer({ min: 1, max: 9 }),
    schedule: fc.constantFrom<Plan["schedule"]>("gpipe", "1f1b"),
    seed: fc.array(fc.tuple(fc.nat(), fc.boolean(), fc.boolean(), fc.boolean(), fc.boolean()), {
      minLength: 20,
      maxLength: 20,
    }),
  })
  .map(({ stages, stageRanks, perStage, shared, microBatches, schedule, seed }) => {
    const degrees = [1, 2, 3, 4, 6, 8].filter((degree) => stageRanks % degree === 0);
    const strategy = (i: number, vocabulary: boolean): Strategy => {
      const [pick, zero3, ulysses, recompute, strided] = seed[i % seed.length]!;
      const tensorDegree = degrees[pick % degrees.length]!;
      const dataDegree = stageRanks / tensorDegree;
      return {
        tensorDegree,
        tensorSplit: ulysses && tensorDegree > 1 ? "sequence" : "weights",
        dataDegree,
        dataParallel: dataDegree === 1 ? "ddp" : zero3 ? "zero3" : shared,
        recompute: recompute && !vocabulary,
        placement: strided && !vocabulary && tensorDegree > 1 && dataDegree > 1 ? "strided" : "consecutive",
      };
    };
    const stageLayers = perStage.slice(0, stages);
    const layers = stageLayers.reduce((sum, count) => sum + count, 0);
    return {
      ranks: stages * stageRanks,
      globalBatch: microBatches * 24,
      microBatches,
      schedule,
      precision: "bfloat16",
      stageLayers,
      layers: Array.from({ length: layers }, (_, i) => strategy(i, false)),
      vocabulary: strategy(19, true),
    };
  });

const base: Plan = {
  ranks: 4,
  globalBatch: 8,
  microBatches: 2,
  schedule: "1f1b",
  precision: "bfloat16",
  stageLayers: [2],
  layers: Array.from({ length: 2 }, () => ({
    tensorDegree: 2,
    tensorSplit: "weights",
    dataDegree: 2,
    dataParallel: "zero2",
    recompute: false,
    placement: "consecutive",
  })),
  vocabulary: {
    tensorDegree: 2,
    tensorSplit: "weights",
    dataDegree: 2,
    dataParallel: "zero2",
    recompute: false,
    placement: "consecutive",
  },
};

function pathOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (!isGalvatronError(error)) throw error;
    expect(error.code).toBe("PLAN_INVALID");
    return String(error.context.path);
  }
  return "accepted";
}

describe("the ancestor's strategy files", () => {
  it("come back as the plan that was written", () => {
    fc.assert(
      fc.property(expressible, (plan) => {
        const file = JSON.parse(JSON.stringify(writeStrategyConfig(plan)));
        expect(readStrategyConfig(file, "plan.json")).toEqual(plan);
      }),
      { numRuns: 500, seed: 3 },
    );
  });

  it("refuse what the format cannot express, with the path", () => {
    const layer = base.layers[0]!;
    const withLayer = (change: Partial<Strategy>): Plan => ({
      ...base,
      layers: [layer, { ...layer, ...change }],
    });
    expect(pathOf(() => writeStrategyConfig(withLayer({ dataParallel: "zero1" })))).toBe(
      "layers.1.dataParallel",
    );
    expect(pathOf(() => writeStrategyConfig(withLayer({ dataParallel: "ddp" })))).toBe(
      "layers.1.dataParallel",
    );
    expect(
      pathOf(() =>
        writeStrategyConfig(
          withLayer({ tensorDegree: 4, tensorSplit: "sequence", dataDegree: 1, dataParallel: "zero3" }),
        ),
      ),
    ).toBe("layers.1.dataParallel");
    const vocabulary = (change: Partial<Strategy>): Plan => ({
      ...base,
      vocabulary: { ...base.vocabulary, ...change },
    });
    expect(pathOf(() => writeStrategyConfig(vocabulary({ placement: "strided" })))).toBe(
      "vocabulary.placement",
    );
    expect(pathOf(() => writeStrategyConfig(vocabulary({ recompute: true })))).toBe("vocabulary.recompute");
  });

  it("refuse wrong fields with their path", () => {
    const good = writeStrategyConfig(base);
    const wrong = (change: Partial<Record<keyof StrategyConfig | "cp_sizes_enc" | "vcp", unknown>>): string =>
      pathOf(() => readStrategyConfig({ ...good, ...change }, "plan.json"));
    expect(wrong({})).toBe("accepted");
    expect(wrong({ pp_deg: 3 })).toBe("pp_deg");
    expect(wrong({ tp_sizes_enc: "2,3" })).toBe("tp_sizes_enc");
    expect(wrong({ tp_sizes_enc: "2;2" })).toBe("tp_sizes_enc");
    expect(wrong({ checkpoint: "0" })).toBe("checkpoint");
    expect(wrong({ checkpoint: "0,2" })).toBe("checkpoint");
    expect(wrong({ pp_division: "3" })).toBe("pp_division");
    expect(wrong({ chunks: 3 })).toBe("chunks");
    expect(wrong({ chunks: 8 })).toBe("tp_sizes_enc");
    expect(wrong({ cp_sizes_enc: "1,2" })).toBe("cp_sizes_enc");
    expect(wrong({ vcp: 2 })).toBe("vcp");
    expect(wrong({ vsp: 2 })).toBe("vsp");
    expect(wrong({ global_bsz: undefined })).toBe("global_bsz");
    expect(wrong({ world_size: undefined })).toBe("world_size");
  });

  it("read files before 3.0 when told the ranks", () => {
    const file = {
      pp_deg: 2,
      tp_sizes_enc: "1,1,2,2",
      tp_consecutive_flags: "1,1,0,1",
      dp_types_enc: "0,1,0,1",
      global_bsz: 32,
      chunks: 4,
      pp_division: "2,2",
      checkpoint: "0,0,1,0",
      pipeline_type: "pipedream_flush",
      default_dp_type: "zero2",
    };
    const plan = readStrategyConfig(file, "old.json", { ranks: 8 });
    expect(plan.layers.map((layer) => layer.placement)).toEqual([
      "consecutive",
      "consecutive",
      "strided",
      "consecutive",
    ]);
    expect(plan.layers.map((layer) => layer.dataParallel)).toEqual(["zero2", "zero3", "zero2", "zero3"]);
    expect(plan.vocabulary.tensorDegree).toBe(1);
  });

  it("have the ancestor's name", () => {
    expect(strategyFileName("llama2-7b", 1, 8, 36, "bfloat16")).toBe(
      "galvatron_config_llama2-7b_1nodes_8gpus_per_node_36GB_bf16.json",
    );
  });

  it.skipIf(!hasOracle)(
    "read and write back every plan that the ancestor wrote (needs the oracle folder)",
    () => {
      let compared = 0;
      for (const one of oracleCases() as Loose[]) {
        if (one.result.config === undefined || one.result.config === null) continue;
        const config = one.result.config;
        if (one.result.best.gbsz % one.result.best.chunks !== 0) continue;
        const path = pathOf(() => readStrategyConfig(config, one.id));
        if (path !== "accepted") {
          // the ancestor wrote a plan whose micro-batch does not divide
          expect(one.id).toContain("bsz8-64-coarse");
          continue;
        }
        const plan = readStrategyConfig(config, one.id);
        const written: Loose = writeStrategyConfig(plan);
        for (const key of Object.keys(config)) {
          if (
            key === "default_dp_type" &&
            plan.layers.every((layer) => layer.dataDegree === 1 || layer.dataParallel === "zero3")
          )
            continue;
          expect(written[key], `${one.id} ${key}`).toBe(config[key]);
        }
        compared++;
      }
      expect(compared).toBeGreaterThan(40);
    },
  );
});
