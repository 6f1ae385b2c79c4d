import { describe, expect, it } from "vitest";
import { layerGraphs } from "../../src/families/layer-graphs.js";
import type { LayerRequest } from "../../src/graph/layer-graphs.js";
import { verifyLayerGraphs } from "../../src/graph/verify-graph.js";
import type { ModelSpec } from "../../src/model/model-spec.js";
import { elements, ONE_RANK } from "./simulate-layer.js";
import { layerKinds, SMALL_MODELS } from "./small-models.js";

function request(
  kind: string,
  tensorDegree = 1,
  tensorSplit: "weights" | "sequence" = "weights",
): LayerRequest {
  return {
    kind,
    strategy: { ...ONE_RANK, tensorDegree, tensorSplit },
    samples: 2,
    precision: "float32",
    lossTokens: 16,
  };
}

const LAYERS = SMALL_MODELS.flatMap((model) =>
  layerKinds(model).map((kind) => [model.family, kind, model] as const),
);

function declaredParameters(model: ModelSpec, kind: string): number {
  if (kind === "embedding") return model.embedding.parameters;
  if (kind === "head") return model.head.parameters;
  return model.kinds[kind]!.parameters;
}

describe("the layers of every family", () => {
  it.each(LAYERS)("%s %s declares the parameters that its model counts", (_, kind, model) => {
    const { parameters } = layerGraphs(model, request(kind));
    const total = parameters.reduce((sum, { fullShape }) => sum + elements(fullShape), 0);
    expect(total).toBe(declaredParameters(model, kind));
  });

  it.each(LAYERS)("%s %s decays matrices and class tokens, not biases and norms", (_, kind, model) => {
    for (const { name, fullShape, decay } of layerGraphs(model, request(kind)).parameters) {
      expect(decay, name).toBe(fullShape.length > 1 || name === "class.weight");
    }
  });

  it.each(LAYERS)(
    "%s %s is sound in every split and precision, spelled out or with kernels",
    (_, kind, model) => {
      for (const [degree, split] of [
        [1, "weights"],
        [2, "weights"],
        [4, "sequence"],
      ] as const) {
        for (const precision of ["float32", "bfloat16"] as const) {
          for (const customOps of [false, true]) {
            const layer = layerGraphs(model, { ...request(kind, degree, split), precision }, { customOps });
            expect(verifyLayerGraphs(layer, degree)).toEqual([]);
            const gradients = Object.values(layer.values).filter(({ role }) => role === "parameterGradient");
            expect(gradients.length).toBe(layer.parameters.length);
            expect(gradients.every(({ dtype }) => dtype === "float32")).toBe(true);
          }
        }
      }
    },
  );

  it("hands on from layer to layer what the next one takes", () => {
    for (const model of SMALL_MODELS) {
      const chain = ["embedding", ...model.layers, "head"].map((kind) =>
        layerGraphs(model, request(kind, 2)),
      );
      chain.slice(1).forEach((layer, i) => {
        const before = chain[i]!;
        const shapes = (names: readonly string[], of: typeof layer) =>
          names.map((name) => of.values[name]!.shape);
        expect(shapes(layer.borderInputs, layer)).toEqual(shapes(before.borderOutputs, before));
      });
    }
  });

  it("counts the products of a body's forward as its model does", () => {
    for (const model of SMALL_MODELS.filter(({ family }) => family !== "t5" && family !== "swin")) {
      const [name, kind] = Object.entries(model.kinds)[0]!;
      const steps = layerGraphs(model, request(name)).forward;
      const flops = steps.reduce((sum, step) => sum + (step.op === "run" ? step.graph.flops : 0), 0);
      // The graphs also count norms, activations and the softmax, which weigh much in a layer this narrow.
      expect(flops / 2).toBeGreaterThan(0.95 * kind.forwardFlops);
      expect(flops / 2).toBeLessThan(1.7 * kind.forwardFlops);
    }
  });
});
