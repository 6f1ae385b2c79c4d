import { describe, expect, it } from "vitest";
import { layerGraphs } from "../../src/families/layer-graphs.js";
import { FAMILIES, modelSpec } from "../../src/families/registry.js";
import { EMBEDDING_KIND, HEAD_KIND } from "../../src/model/model-profile.js";
import { tiedElements, wholeElements } from "../../src/model/whole-parameters.js";
import type { Strategy } from "../../src/plan/strategy.js";
import { flatLayouts } from "../../src/program/flat-layout.js";

const strategy: Strategy = {
  tensorDegree: 2,
  tensorSplit: "weights",
  dataDegree: 1,
  dataParallel: "ddp",
  recompute: false,
  placement: "consecutive",
};

describe.each(FAMILIES.map(({ name }) => name))("what a tensor group of %s must add up", (family) => {
  const image = family === "vit" || family === "swin";
  const sizes = { layers: 2, hidden: 64, heads: 8, feedForward: 192, sequence: 64, vocabulary: 512 };
  it.each(image ? [false] : [true, false])("is what the flat vectors hold whole (tied: %s)", (tied) => {
    const model = modelSpec(family, image ? {} : { ...sizes, tied });
    for (const kind of [EMBEDDING_KIND, ...new Set(model.layers), HEAD_KIND]) {
      const graphs = layerGraphs(model, {
        kind,
        strategy,
        samples: 2,
        precision: "float32",
        lossTokens: 100,
      });
      const shared = new Set(tied && kind === EMBEDDING_KIND ? ["token.weight"] : []);
      const layouts = flatLayouts(graphs, strategy, shared);
      // Every parameter and the whole piece are padded.
      const padding = 8 * graphs.parameters.length;
      const whole = layouts.reduce((sum, layout) => sum + layout.wholeEnd - layout.wholeStart, 0);
      const counted = wholeElements(model, kind);
      expect(whole, kind).toBeGreaterThanOrEqual(counted);
      expect(whole, kind).toBeLessThanOrEqual(counted + padding);
      const table = layouts.find(({ part }) => part === "tied");
      if (kind === EMBEDDING_KIND || kind === HEAD_KIND)
        expect(table?.elements ?? 0, kind).toBe(tiedElements(model, 2));
    }
  });
});
