import { describe, expect, it } from "vitest";
import { readCase, readInputs } from "../../../src/ancestor/case-json.js";
import { coefficients, fitLine, fitParabola, onParabola } from "../../../src/ancestor/cost/fits.js";
import type { CostOptions, FittedProfile } from "../../../src/ancestor/cost/fitted-profile.js";
import { layerMemory } from "../../../src/ancestor/cost/layer-memory.js";
import { layerTimes } from "../../../src/ancestor/cost/layer-time.js";
import { localSamples } from "../../../src/ancestor/cost/local-samples.js";
import { pipelineTime } from "../../../src/ancestor/cost/pipeline-time.js";
import { vocabularyMemory } from "../../../src/ancestor/cost/vocabulary-memory.js";
import { vocabularyTimes } from "../../../src/ancestor/cost/vocabulary-time.js";
import { fitProfile } from "../../../src/ancestor/fit-profile.js";
import { difference, hasOracle, type Loose, ofOracle, oracleJson, readInput } from "../oracle.js";

const byDegree = (table: Loose): Map<number, number> =>
  new Map(
    Object.entries<number>(table ?? {})
      .filter(([key]) => /^\d+$/.test(key))
      .map(([key, value]) => [Number(key), value]),
  );

const lineOf = (value: Loose): { perUnit: number; constant: number } =>
  Array.isArray(value) ? { perUnit: value[0], constant: value[1] } : { perUnit: value, constant: 0 };

const messages = (table: Loose): FittedProfile["gather"] =>
  new Map(
    Object.entries<Loose>(table).map(([ranks, row]) => [
      Number(ranks),
      { exact: byDegree(row), line: lineOf(row.popt) },
    ]),
  );

/** The formulas' inputs from the numbers that the ancestor itself had fitted. */
function givenProfile(context: Loose): FittedProfile {
  const first = context.inputs[0];
  const hardware = first.ProfileHardwareArgs;
  const perMB = (flag: number): Map<number, number> =>
    new Map(
      Object.entries<number>(hardware.allreduce_latency_per_MB_dict)
        .filter(([key]) => key.endsWith(`_${flag}`))
        .map(([key, value]) => [Number(key.split("_")[0]), value]),
    );
  const vocabulary = (table: Loose): FittedProfile["vocabularyWhole"] => ({
    statesMB: byDegree(table.model_states),
    activationMB: byDegree(table.activation),
  });
  return {
    kinds: context.inputs.map((input: Loose) => ({
      hidden: input.ModelArgs.hidden_size,
      sequence: input.ModelArgs.seq_length,
      layers: input.ModelArgs.layer_num,
      parameterMB: input.ModelArgs.parameter_size,
      activationMB: byDegree(input.ProfileModelArgs.tp_activation_per_bsz_dict),
      recomputeActivationMB: input.ProfileModelArgs.tp_activation_per_bsz_dict.checkpoint,
      forward: lineOf(input.ProfileModelArgs.forward_computation_time),
    })),
    vocabularyForward: lineOf(first.ProfileModelArgs.other_time_profiled),
    vocabularyWhole: vocabulary(first.ProfileModelArgs.other_memory_pp_off),
    vocabularyFirst: vocabulary(first.ProfileModelArgs.other_memory_pp_on.first_stage),
    vocabularyLast: vocabulary(first.ProfileModelArgs.other_memory_pp_on.last_stage),
    consecutiveMsPerMB: perMB(1),
    stridedMsPerMB: perMB(0),
    pipelineMsPerMB: byDegree(hardware.p2p_comm_coe_dict),
    gather: messages(hardware.allgather_message_size_to_latency_dict_dict),
    allToAll: messages(hardware.all2all_message_size_to_latency_dict_dict),
    overlap: hardware.dp_overlap_coe,
  };
}

/** The same from the profile files, by our own fits. */
function rawProfile(context: Loose): FittedProfile {
  const { num_nodes, num_gpus_per_node } = context.args.hardware_info;
  const suffix = `${num_nodes}nodes_${num_gpus_per_node}gpus_per_node.json`;
  const meta = JSON.parse(readInput(`models/${context.model}/meta.json`));
  const search = readCase(
    {
      id: context.id,
      args: context.args,
      layerConfigs: context.layer_configs,
      inputs: [
        `hw/${context.hw}/allreduce_bandwidth_${suffix}`,
        `hw/${context.hw}/overlap_coefficient.json`,
        `hw/${context.hw}/p2p_bandwidth_${suffix}`,
        `hw/${context.hw}/sp_time_${suffix}`,
        `models/${context.model}/computation_profiling_bf16_${meta.model_name}_all.json`,
        `models/${context.model}/memory_profiling_bf16_${meta.model_name}_all.json`,
      ],
    },
    context.id,
  );
  return fitProfile(search, readInputs(search, readInput));
}

/** Largest relative difference of every number of one context, and how many numbers were compared. */
function compare(context: Loose, profile: FittedProfile): { worst: number; compared: number } {
  const options = (pipeline: CostOptions["pipeline"]): CostOptions => ({
    mixedPrecision: context.args.parallelism_info.mixed_precision !== "fp32",
    asyncGradReduce: context.args.parallelism_info.async_grad_reduce,
    sequenceParallel: context.args.common_train_info.sequence_parallel,
    pipeline,
    timeFactor: 1,
  });
  let worst = 0;
  let compared = 0;
  const same = (ours: number, theirs: number): void => {
    worst = Math.max(worst, theirs === 0 ? Math.abs(ours) : difference(ours, theirs));
    if (Number.isNaN(ours)) worst = Number.POSITIVE_INFINITY;
    compared++;
  };
  const layers = context.layer_strategies.map(ofOracle);
  const embeddings = context.embed_strategies.map(ofOracle);
  for (const point of context.points) {
    const flush = options("pipedream_flush");
    for (const row of point.layer) {
      const strategy = layers[row.s];
      const samples = localSamples(point.gbsz, point.chunks, strategy.data);
      if (row.time !== undefined) {
        const times = layerTimes(profile, flush, row.layertype, strategy, samples)!;
        same(times.synced, row.time);
        same(times.unsynced, row.time_no_sync);
      }
      for (const pipeline of ["pipedream_flush", "gpipe"] as const) {
        for (const [stage, memory] of (row[`mem_${pipeline}`] ?? []).entries()) {
          const kind = profile.kinds[row.layertype]!;
          const ours = layerMemory(kind, options(pipeline), strategy, samples, point.chunks, stage)!;
          same(ours.parameterMB, memory[0]);
          same(ours.statesMB, memory[1]);
          same(ours.activationMB, memory[2]);
          same(ours.statesMB + ours.activationMB, memory[3]);
        }
      }
    }
    for (const row of point.embed) {
      const strategy = embeddings[row.s];
      const samples = localSamples(point.gbsz, point.chunks, strategy.data);
      if (row.time !== undefined) {
        const times = vocabularyTimes(profile, flush, strategy, samples)!;
        row.time.forEach((time: number, stage: number) => {
          same(times.synced[stage]!, time);
          same(times.unsynced[stage]!, row.time_no_sync[stage]);
        });
      }
      for (const pipeline of ["pipedream_flush", "gpipe"] as const) {
        const theirs = row[`mem_${pipeline}`];
        if (theirs?.model_states === undefined) continue;
        const ours = vocabularyMemory(profile, options(pipeline), strategy, samples, point.chunks)!;
        theirs.model_states.forEach((states: number, stage: number) => {
          same(ours.statesMB[stage]!, states);
          same(ours.activationMB[stage]!, theirs.activation[stage]);
          same(ours.statesMB[stage]! + ours.activationMB[stage]! + ours.contextMB, theirs.enc_total[stage]);
        });
      }
    }
    const compose = (strategies: readonly number[], partition: readonly number[], embed: Loose): number => {
      const kindOf = profile.kinds.flatMap((kind, index) => Array.from({ length: kind.layers }, () => index));
      const samples = localSamples(point.gbsz, point.chunks, embed.data);
      const rest = vocabularyTimes(profile, flush, embed, samples)!.unsynced;
      let layer = 0;
      const unsynced: number[] = [];
      const synced: number[] = [];
      for (const [stage, count] of partition.entries()) {
        let c = 0;
        let s = 0;
        for (let i = 0; i < count; i++, layer++) {
          const strategy = layers[strategies[layer]!];
          const times = layerTimes(
            profile,
            flush,
            kindOf[layer]!,
            strategy,
            localSamples(point.gbsz, point.chunks, strategy.data),
          )!;
          c += times.unsynced;
          s += times.synced;
        }
        unsynced.push(c + rest[stage]!);
        synced.push(s);
      }
      return pipelineTime(unsynced, synced, point.chunks);
    };
    const embedOf = (s: number): Loose => ({ ...layers[s], recompute: false });
    for (const row of point.pipeline_uniform ?? []) {
      if (row.iteration_time === undefined || row.iteration_time === null) continue;
      const count = row.partition.reduce((sum: number, n: number) => sum + n, 0);
      same(
        compose(
          Array.from({ length: count }, () => row.s),
          row.partition,
          embedOf(row.s),
        ),
        row.iteration_time,
      );
    }
    for (const row of point.pipeline_mixed ?? []) {
      same(compose(row.strategies, row.partition, embedOf(row.embed_of_strategy)), row.iteration_time);
    }
  }
  return { worst, compared };
}

describe.skipIf(!hasOracle)("the galvatron3 cost model (needs the oracle folder)", () => {
  const file = hasOracle ? oracleJson("golden-costs.json") : { contexts: [], fits: [] };

  it.each<[string, Loose]>(file.contexts.map((context: Loose) => [context.id, context]))(
    "%s: equal to the ancestor's numbers",
    (_, context) => {
      const given = compare(context, givenProfile(context));
      expect(given.compared).toBeGreaterThan(500);
      expect(given.worst).toBeLessThan(1e-12);
      const raw = compare(context, rawProfile(context));
      expect(raw.compared).toBe(given.compared);
      expect(raw.worst).toBeLessThan(1e-6);
    },
  );

  it("fits as exact least squares do, and as the ancestor's fits within 1e-6", () => {
    for (const fit of file.fits) {
      if (fit.scipy_curve_fit.length === 2) {
        const line = fitLine(fit.x, fit.y);
        expect(difference(line.perUnit, fit.numpy_polyfit[0])).toBeLessThan(1e-10);
        expect(difference(line.constant, fit.numpy_polyfit[1])).toBeLessThan(1e-10);
      } else {
        const parabola = fitParabola(fit.x, fit.y);
        coefficients(parabola).forEach((value, i) => {
          expect(difference(value, fit.numpy_polyfit[i])).toBeLessThan(1e-8);
        });
        const [a, b, c] = fit.scipy_curve_fit;
        for (const x of fit.x) {
          expect(difference(onParabola(parabola, x), a * x * x + b * x + c)).toBeLessThan(1e-6);
        }
      }
    }
  });
});
