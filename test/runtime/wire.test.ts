import { expect, it } from "vitest";
import { parseFromWorker } from "../../src/runtime/wire.js";

it("lets through numbers of a training that went astray, for the coordinator to say so", () => {
  const memory = { residentBytes: 1, peakBytes: 1, sharedBytes: 0 };
  const stepped = {
    kind: "stepped",
    step: 3,
    losses: Float32Array.of(Number.POSITIVE_INFINITY),
    gradientNorm: Number.POSITIVE_INFINITY,
    learningRate: Number.POSITIVE_INFINITY,
    stepMs: 1,
    wallMs: 1,
    instructionsMs: new Float64Array(0),
    sentBytes: new Float64Array(0),
    arenaBytes: 0,
    onnxRuntimeBytes: 0,
    graphBytes: new Float64Array(0),
    memory,
    evaluation: { loss: Number.NaN, accuracy: null },
  };
  expect(parseFromWorker(stepped)).toEqual(stepped);
  expect(() => parseFromWorker({ ...stepped, gradientNorm: "big" })).toThrow();
});
