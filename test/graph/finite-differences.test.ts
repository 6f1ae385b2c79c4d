import { describe, expect, it } from "vitest";
import { fillNormal } from "../../src/base/random.js";
import { gradientName } from "../../src/graph/build-layer-graphs.js";
import type { LayerRequest } from "../../src/graph/layer-graphs.js";
import type { ModelSpec } from "../../src/model/model-spec.js";
import type { Content } from "./run-onnx.js";
import { ONE_RANK, randomInputs, simulateLayer, type WholeTensors } from "./simulate-layer.js";
import { DROPOUT_MODELS, layerKinds, SMALL_MODELS } from "./small-models.js";

const request = (kind: string): LayerRequest => ({
  kind,
  strategy: ONE_RANK,
  samples: 2,
  precision: "float32",
  lossTokens: 12,
});
const options = { dtype: "float64" } as const;
/** Small enough for the third derivatives of a dropped-out layer, large enough for float64. */
const STEP = 3e-6;

function dot(a: Content, b: Content): number {
  let sum = 0;
  for (let i = 0; i < a.data.length; i++) sum += a.data[i]! * b.data[i]!;
  return sum;
}

/** The scalar whose gradient backward computes: the loss, or the outputs times the gradients that come in. */
async function objective(model: ModelSpec, kind: string, inputs: WholeTensors): Promise<number> {
  const outputs = await simulateLayer(model, request(kind), inputs, options);
  const loss = outputs.loss;
  if (loss) return loss.data[0]!;
  return Object.keys(outputs)
    .filter((name) => inputs[gradientName(name)])
    .reduce((sum, name) => sum + dot(outputs[name]!, inputs[gradientName(name)]!), 0);
}

describe("gradients are those of the function computed (central differences, float64)", () => {
  it.each(
    [...SMALL_MODELS, ...DROPOUT_MODELS].flatMap((model) =>
      layerKinds(model).map((kind) => [model.name, kind, model] as const),
    ),
  )("%s %s, along a random direction of each tensor", async (_, kind, model) => {
    const inputs = randomInputs(model, request(kind), options);
    const gradients = await simulateLayer(model, request(kind), inputs, options);
    const names = Object.keys(gradients).filter((name) => name.endsWith(".gradient"));
    expect(names.length).toBeGreaterThan(0);
    for (const gradient of names) {
      const name = gradient.slice(0, -".gradient".length);
      const x = inputs[name]!;
      const direction = fillNormal(11, name, 0, x.data.length, 1);
      const moved = (step: number): WholeTensors => ({
        ...inputs,
        [name]: { ...x, data: Float64Array.from(x.data, (value, i) => value + step * direction[i]!) },
      });
      const slope =
        ((await objective(model, kind, moved(STEP))) - (await objective(model, kind, moved(-STEP)))) /
        (2 * STEP);
      const expected = dot(gradients[gradient]!, { ...x, data: direction });
      expect(Math.abs(slope - expected), name).toBeLessThan(1e-7 * Math.max(1, Math.abs(expected)));
    }
  });
});
