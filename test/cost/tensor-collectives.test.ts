import { describe, expect, it } from "vitest";
import { collectiveCounts } from "../../src/cost/collective-counts.js";
import { kindShape } from "../../src/cost/layer-cost.js";
import { layerGraphs } from "../../src/families/layer-graphs.js";
import { FAMILIES, modelSpec } from "../../src/families/registry.js";
import type { LayerGraphs, LayerStep } from "../../src/graph/layer-graphs.js";
import { EMBEDDING_KIND, HEAD_KIND } from "../../src/model/model-profile.js";

const size = (shape: readonly number[]): number => shape.reduce((all, extent) => all * extent, 1);

/** Collectives of a pass by name, those of at least a fifth of the whole activation; all-to-alls by a rank's share. */
function counted(graphs: LayerGraphs, steps: readonly LayerStep[], whole: number): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const step of steps) {
    if (step.op === "run") continue;
    const elements = Math.max(
      size(graphs.values[step.input]!.shape),
      size(graphs.values[step.output]!.shape),
    );
    if (elements < whole / 5) continue;
    counts[step.op] = (counts[step.op] ?? 0) + 1;
  }
  return counts;
}

const without0 = (counts: Record<string, number>): Record<string, number> =>
  Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));

describe("collectiveCounts", () => {
  it.each(FAMILIES.map(({ name }) => name))("is what the graphs of %s do", (family) => {
    const model = modelSpec(
      family,
      family === "vit" || family === "swin" ? {} : { layers: 2, hidden: 64, heads: 8, sequence: 64 },
    );
    for (const kind of [EMBEDDING_KIND, ...new Set(model.layers), HEAD_KIND]) {
      const shape = kindShape(model, kind);
      const samples = 2;
      for (const split of ["weights", "sequence"] as const) {
        if (shape.sequence % 2 !== 0) continue;
        const heads = model.kinds[kind]?.heads ?? 2;
        if (heads % 2 !== 0) continue;
        const graphs = layerGraphs(model, {
          kind,
          strategy: {
            tensorDegree: 2,
            tensorSplit: split,
            dataDegree: 1,
            dataParallel: "ddp",
            recompute: false,
            placement: "consecutive",
          },
          samples,
          precision: "float32",
          lossTokens: 100,
        });
        const whole = shape.sequence * samples * shape.hidden;
        const counts = collectiveCounts(model, kind, split);
        const exchanges = counts.wideExchanges + counts.narrowExchanges;
        const where = `${kind} ${split}`;
        expect(counted(graphs, graphs.forward, whole), `${where} forward`).toEqual(
          without0({
            allGather: counts.forwardGathers,
            reduceScatter: counts.forwardScatters,
            allToAll: exchanges,
          }),
        );
        expect(counted(graphs, graphs.backward, whole), `${where} backward`).toEqual(
          without0({
            allGather: counts.backwardGathers,
            reduceScatter: counts.backwardScatters,
            allToAll: exchanges,
          }),
        );
      }
    }
  });
});
