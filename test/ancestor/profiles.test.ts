import { describe, expect, it } from "vitest";
import { readCase, readInputs } from "../../src/ancestor/case-json.js";
import { readComputationProfile } from "../../src/ancestor/computation-json.js";
import { fitProfile } from "../../src/ancestor/fit-profile.js";
import { hardwareProfileOf } from "../../src/ancestor/hardware-profile-of.js";
import { readMemoryProfile } from "../../src/ancestor/memory-json.js";
import { modelProfileOf } from "../../src/ancestor/model-profile-of.js";
import { BYTES_PER_GB } from "../../src/base/units.js";
import type { Cluster } from "../../src/cluster/cluster.js";
import { predict } from "../../src/cost/predict.js";
import { modelSpec } from "../../src/families/registry.js";
import type { Plan } from "../../src/plan/plan.js";
import { hasOracle, type Loose, oracleCases, oracleJson, readInput } from "./oracle.js";

const table = { model_states: { 1: 4130, 2: 2321 }, activation: { 1: 841, 2: 358 } };

describe("computation profiles of every generation", () => {
  it("2.0: a layer without batch or sequence", () => {
    const { rows } = readComputationProfile(
      { "layernum[12]_bsz4": 41.5, "layernum[24]_bsz4": 70.2, layertype_0: 0.6 },
      "a",
    );
    expect(rows).toEqual([{ kind: 0, batch: null, sequences: null, forwardMs: 0.6 }]);
  });
  it("2.2: with a batch, the rest by type", () => {
    const { rows } = readComputationProfile({ layertype_0_bsz2: 4.3, layertype_other_0_bsz2: 3.9 }, "a");
    expect(rows.map((row) => [row.kind, row.batch])).toEqual([
      [0, 2],
      ["other", 2],
    ]);
  });
  it("2.4 and 3.0: with lists of sequences in either spelling", () => {
    for (const spelling of ["[512,128]", "512_128", "[512, 128]"]) {
      const { rows } = readComputationProfile(
        { layertype_1_bsz8_seq512: 0.6, [`layertype_other_bsz8_seq${spelling}`]: 0.8 },
        "a",
      );
      expect(rows[1]?.sequences).toEqual([512, 128]);
    }
  });
  it("works layers out of raw runs where nothing else is there", () => {
    const { rows } = readComputationProfile(
      { "layernum[2]_bsz4_seq2048": 60, "layernum[4]_bsz4_seq2048": 100, layernum2_bsz8_seq2048: 110 },
      "a",
    );
    expect(rows).toEqual([
      { kind: 0, batch: 4, sequences: [2048], forwardMs: 5 },
      { kind: "other", batch: 4, sequences: [2048], forwardMs: 5 },
    ]);
  });
});

describe("memory profiles of every generation", () => {
  it("2.0: flat tables with single numbers", () => {
    const profile = readMemoryProfile(
      {
        "1_1_8": { "layernum[1]_bsz8_rank0_ms": 386 },
        layertype_0: { parameter_size: 772, tp_activation_per_bsz_dict: { 1: 300, 2: 182, checkpoint: 16 } },
        other_memory_pp_off: { model_states: 4258, activation: 572 },
        other_memory_pp_on_first: { model_states: 2157, activation: 46 },
        other_memory_pp_on_last: { model_states: 2285, activation: 184 },
      },
      "a",
    );
    expect(profile.sequenceParallel).toBeNull();
    expect(profile.plain?.layers[0]?.[0]).toMatchObject({
      sequence: null,
      parameterMB: 772,
      recomputeActivationMB: 16,
    });
    expect(profile.plain?.whole[0]?.statesMB.get(1)).toBe(4258);
  });
  it("2.4: several layer types nested by sequence", () => {
    const layer = { parameter_size: 192, tp_activation_per_bsz_dict: { 1: 52, checkpoint: 1 } };
    const profile = readMemoryProfile(
      {
        layertype_0_sp: { 512: layer },
        layertype_1_sp: { 128: layer },
        other_memory_pp_off_sp: { "[512,128]": table },
      },
      "a",
    );
    expect(profile.sequenceParallel?.layers).toHaveLength(2);
    expect(profile.sequenceParallel?.whole[0]?.sequences).toEqual([512, 128]);
  });
});

describe.skipIf(!hasOracle)("profiles in our own terms (needs the oracle folder)", () => {
  it("price a plan under our own cost model near the ancestor's time", () => {
    const one: Loose = oracleCases().find((candidate) => candidate.id === "v3-gpt-6.7b-1x8-16g-b64-c8");
    const search = readCase(one, one.id);
    const inputs = readInputs(search, readInput);
    const cluster: Cluster = {
      name: "ancestor's machine",
      device: "cuda",
      deviceName: "A100",
      nodes: 1,
      ranksPerNode: 8,
      memoryBytesPerRank: 80 * BYTES_PER_GB,
    };
    const hardware = hardwareProfileOf(inputs, cluster, { optimizerGBps: 1000, launchMs: 0.01 });
    const model = modelSpec("gpt-6.7b", { sequence: 2048 });
    const profile = modelProfileOf(fitProfile(search, inputs), model, "bfloat16", "A100");
    const strategy = {
      tensorDegree: 1,
      tensorSplit: "weights",
      dataDegree: 8,
      dataParallel: "zero2",
      recompute: false,
      placement: "consecutive",
    } as const;
    const plan: Plan = {
      ranks: 8,
      globalBatch: 64,
      microBatches: 8,
      schedule: "1f1b",
      precision: "bfloat16",
      stageLayers: [32],
      layers: Array.from({ length: 32 }, () => strategy),
      vocabulary: strategy,
    };
    const prediction = predict(model, plan, profile, hardware);
    // different models of communication, the same computation: the same order of size
    const golden = oracleJson("golden-costs.json").contexts.find(
      (context: Loose) => context.id === "gpt-6.7b-1x8",
    );
    expect(golden.layer_strategies[0].str).toBe("1-1-8");
    const ratio = prediction.stepMs / 1000 / golden.points[0].pipeline_uniform[0].iteration_time;
    expect(ratio).toBeGreaterThan(0.7);
    expect(ratio).toBeLessThan(2);
    expect(hardware.collectives.every((sample) => sample.timeMs > 0 && sample.ranks <= 8)).toBe(true);
  });
});
