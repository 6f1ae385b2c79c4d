import { describe, expect, it } from "vitest";
import { type AncestorStrategy, parseStrategy, strategyText } from "../../src/ancestor/ancestor-strategy.js";
import { readCase, readInputs } from "../../src/ancestor/case-json.js";
import { bufferMB } from "../../src/ancestor/cost/buffer-memory.js";
import { layerMemory } from "../../src/ancestor/cost/layer-memory.js";
import { layerTimes } from "../../src/ancestor/cost/layer-time.js";
import { localSamples } from "../../src/ancestor/cost/local-samples.js";
import { pipelineTime } from "../../src/ancestor/cost/pipeline-time.js";
import { vocabularyMemory } from "../../src/ancestor/cost/vocabulary-memory.js";
import { vocabularyTimes } from "../../src/ancestor/cost/vocabulary-time.js";
import { fitProfile } from "../../src/ancestor/fit-profile.js";
import { type CaseResult, runCase } from "../../src/ancestor/run-case.js";
import { costOptions } from "../../src/ancestor/search-space.js";
import { difference, hasOracle, type Loose, oracleCases, readInput } from "./oracle.js";

const cases: Loose[] = hasOracle ? oracleCases() : [];
const run = (one: Loose, which?: "even" | "unrestricted" | "ancestor"): CaseResult =>
  runCase({ ...one, result: undefined }, readInput, () => performance.now(), which);

/** Prices the plan of a result from its strategies alone, by the formulas that the golden costs prove. */
function reprice(one: Loose, result: CaseResult): { time: number; memoryMB: number[] } {
  const search = readCase(one, one.id);
  const profile = fitProfile(search, readInputs(search, readInput));
  const options = costOptions(search);
  const plan = result.plan!;
  const shared = search.defaultDataParallel === "ddp" ? "ddp" : "zero2";
  const layers = result.strategies.map((text) => parseStrategy(text, shared));
  const vocabulary = parseStrategy(result.vocabulary!, shared);
  const { globalBatch, microBatches, stageLayers } = plan;
  const samples = (strategy: AncestorStrategy): number =>
    localSamples(globalBatch, microBatches, strategy.data);
  const rest = vocabularyTimes(profile, options, vocabulary, samples(vocabulary))!;
  const restMemory = vocabularyMemory(profile, options, vocabulary, samples(vocabulary), microBatches)!;
  const ranks = search.nodes * search.gpusPerNode;
  const everyone = [...layers, vocabulary];
  const widest = Math.max(...everyone.map((s) => Math.max(s.tensor, s.sequence)));
  const tensorUsed = everyone.some((s) => s.tensor > 1);
  const totalMB = search.memoryGB * 1024;
  const reserveMB = search.memoryGB > 20 ? Math.trunc(totalMB * 0.2) : 0;
  // the least buffer that any sub-search with this plan pays
  const narrowest = Math.floor(
    ranks /
      stageLayers.length /
      Math.max(1, Math.min(globalBatch / microBatches, ranks / stageLayers.length)),
  );
  const bufferSplit = Math.max(widest, narrowest);
  const buffer =
    tensorUsed && search.sequenceParallel && search.globalMemoryBuffer
      ? Math.trunc(bufferMB(profile, ranks, stageLayers.length, bufferSplit, globalBatch, microBatches))
      : 0;
  let layer = 0;
  const unsynced: number[] = [];
  const synced: number[] = [];
  const memoryMB: number[] = [];
  for (const [stage, count] of stageLayers.entries()) {
    let c = 0;
    let s = 0;
    let mb =
      Math.ceil(restMemory.statesMB[stage]! + restMemory.activationMB[stage]! + restMemory.contextMB) +
      buffer;
    for (let i = 0; i < count; i++, layer++) {
      const strategy = layers[layer]!;
      const times = layerTimes(profile, options, 0, strategy, samples(strategy))!;
      const memory = layerMemory(
        profile.kinds[0]!,
        options,
        strategy,
        samples(strategy),
        microBatches,
        stage,
      )!;
      c += times.unsynced;
      s += times.synced;
      mb += Math.ceil(memory.statesMB + memory.activationMB);
    }
    unsynced.push(c + rest.unsynced[stage]!);
    synced.push(s);
    memoryMB.push(mb + reserveMB);
    expect(mb, `stage ${stage} of ${one.id}`).toBeLessThanOrEqual(totalMB - reserveMB);
  }
  return { time: pipelineTime(unsynced, synced, microBatches), memoryMB };
}

describe.skipIf(!hasOracle)("runCase (needs the oracle folder)", () => {
  it.each<[string, Loose]>(cases.map((one) => [one.id, one]))(
    "%s: never slower than the ancestor",
    (_, one) => {
      const even = run(one);
      expect(even.status).toBe(one.result.status);
      const open = run(one, "unrestricted");
      expect(open.throughput).toBeGreaterThanOrEqual(even.throughput);
      if (one.result.status === "ok") {
        expect(even.throughput).toBeGreaterThan(one.result.throughput * (1 - 1e-6));
      }
      for (const result of [even, open]) {
        if (result.status !== "ok") continue;
        const again = reprice(one, result);
        expect(difference(result.timeCost!, again.time)).toBeLessThan(1e-9);
        expect(difference(result.throughput, result.plan!.globalBatch / again.time)).toBeLessThan(1e-9);
        result.memoryMBPerStage!.forEach((mb, stage) => {
          expect(mb).toBeGreaterThanOrEqual(again.memoryMB[stage]!);
          expect(mb).toBeLessThanOrEqual(one.args.hardware_info.memory_constraint * 1024);
        });
        expect(result.plan!.layers).toHaveLength(one.layerConfigs[0].layer_num);
      }
    },
  );

  it("chooses what the ancestor chose when asked to choose like it", () => {
    // the rest of the list is compared by the benchmark script
    const quick = cases.filter(
      (one) => one.result.searchCpuSeconds < 7 && one.args.hardware_info.num_nodes === 1,
    );
    expect(quick.length).toBeGreaterThan(10);
    for (const one of quick) {
      const result = run(one, "ancestor");
      expect(result.status, one.id).toBe(one.result.status);
      if (one.result.status === "ok")
        expect(difference(result.throughput, one.result.throughput), one.id).toBeLessThan(1e-6);
    }
  });

  it("gives the same bytes twice", () => {
    for (const one of cases.slice(0, 12)) {
      const bytes = (): string => JSON.stringify({ ...run(one), searchMs: 0 });
      expect(bytes()).toBe(bytes());
    }
  });

  it("marks plans that lose samples to floors as not executable", () => {
    const one = cases.find((candidate) => candidate.id === "v3-llama2-7b-1x8-24g-bsz8-64-coarse");
    const result = run(one);
    expect(result.executable).toBe(false);
    expect(result.reasons.join()).toContain("does not divide over");
  });

  it("reads strategy texts that it writes", () => {
    for (const one of cases) {
      for (const text of one.result.best?.strategies ?? []) {
        expect(strategyText(parseStrategy(text, "zero2"))).toBe(text);
      }
    }
  });
});
