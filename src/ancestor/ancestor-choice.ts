import { solveLayers } from "../search/layer-dp.js";
import { type Assignment, evenDivision } from "./assignment.js";
import type { AncestorCase } from "./case.js";
import type { FittedProfile } from "./cost/fitted-profile.js";
import { pipelineTime } from "./cost/pipeline-time.js";
import { switchTime } from "./cost/switch-time.js";
import { costOptions, type Freedom, freedoms, kindsOfLayers } from "./search-space.js";
import { strategySpace } from "./strategy-space.js";
import { memoryBudget } from "./sub-search.js";

/**
 * The plan that the ancestor itself would choose: on every stage the least sum of layer times (gradient
 * synchronisation included) and switch costs that fits, then the fastest step time over the outer loops. For
 * side-by-side comparisons; `searchEven` is never slower.
 */
export function searchLikeAncestor(search: AncestorCase, profile: FittedProfile): Assignment | null {
  const kindOfLayer = kindsOfLayers(search);
  let best: Assignment | null = null;
  for (const freedom of freedoms(search, profile, strategySpace(search, false), false, true)) {
    const found = bestOf(search, profile, freedom, kindOfLayer);
    if (found === null) continue;
    if (best === null || found.globalBatch / found.time > best.globalBatch / best.time) best = found;
  }
  return best;
}

function bestOf(
  search: AncestorCase,
  profile: FittedProfile,
  freedom: Freedom,
  kindOfLayer: Int32Array,
): Assignment | null {
  const { tables, sub, allowed, vocabulary, bufferMB } = freedom;
  const { stages, globalBatch, microBatches } = tables;
  const kinds = profile.kinds.length;
  const count = allowed.length;
  if (count === 0) return null;
  const { usableMB } = memoryBudget(search.memoryGB);
  const division = evenDivision(kindOfLayer.length, stages);
  const time = new Float64Array(kinds * count);
  const switches = new Float64Array(kinds * count * count);
  const options = costOptions(search);
  const ranks = search.nodes * search.gpusPerNode;
  const column = (kind: number, s: number): number => kind * tables.strategies.length + allowed[s]!;
  for (let kind = 0; kind < kinds; kind++) {
    for (let s = 0; s < count; s++) {
      time[kind * count + s] = tables.unsynced[column(kind, s)]! + tables.exposed[column(kind, s)]!;
      for (let before = 0; before < count; before++) {
        if (before === s) continue;
        const from = tables.strategies[allowed[before]!]!;
        const to = tables.strategies[allowed[s]!]!;
        switches[(kind * count + before) * count + s] = switchTime(
          profile,
          options,
          kind,
          from,
          to,
          ranks,
          globalBatch,
          microBatches,
        );
      }
    }
  }
  let best: Assignment | null = null;
  for (const choice of vocabulary) {
    const unsynced: number[] = [];
    const synced: number[] = [];
    const chosen: number[] = [];
    const usedMB: number[] = [];
    let start = 0;
    for (let stage = 0; stage < stages; stage++) {
      const budget = usableMB - choice.memoryMB[stage]! - bufferMB;
      const memory = new Int32Array(kinds * count);
      for (let kind = 0; kind < kinds; kind++) {
        for (let s = 0; s < count; s++) memory[kind * count + s] = tables.memoryMB[stage]![column(kind, s)]!;
      }
      const rows = kindOfLayer.subarray(start, start + division[stage]!);
      const layers =
        budget < 0
          ? null
          : solveLayers({ strategies: count, time, memory, switchTime: switches }, rows, budget);
      if (layers === null) break;
      let c = 0;
      let exposed = 0;
      layers.strategies.forEach((s, i) => {
        c += tables.unsynced[column(rows[i]!, s)]!;
        exposed += tables.exposed[column(rows[i]!, s)]!;
        chosen.push(allowed[s]!);
      });
      unsynced.push(c + choice.unsynced[stage]!);
      synced.push(c + exposed);
      usedMB.push(usableMB - budget + layers.memory);
      start += division[stage]!;
    }
    if (unsynced.length < stages) continue;
    const stepTime = pipelineTime(unsynced, synced, microBatches);
    if (best !== null && !(stepTime < best.time)) continue;
    best = {
      globalBatch,
      microBatches,
      sub,
      stageLayers: division,
      layers: chosen.map((s) => tables.strategies[s]!),
      vocabulary: choice.strategy,
      time: stepTime,
      usedMB,
    };
  }
  return best;
}
