// Writes the product's own layer graphs (custom ops, bfloat16) for test/gpu/blocks.py: one folder a case with the ONNX
// files and layer.json (values, steps). Blocks have gradients in bfloat16, as their peer's; small ones in either.   node test/gpu/dump-graphs.mjs OUT     Needs dist/ (npm run build:ts).
import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..", "..");
const require = createRequire(import.meta.url);
const dist = (name) => require(path.join(root, "dist", "src", name));
const { layerGraphs } = dist("families/layer-graphs.js");

const out = process.argv[2] ?? ".gpu/graphs";
const model = (family, { hidden, heads, feedForward, sequence, vocabulary }) => ({
  family,
  name: family,
  sequence,
  vocabulary,
  kinds: {
    decoder: {
      name: "decoder",
      hidden,
      heads,
      keyValueHeads: heads,
      feedForward,
      sequence,
      parameters: 0,
      forwardFlops: 0,
    },
  },
  layers: ["decoder"],
  embedding: { parameters: 0 },
  head: { parameters: 0, forwardFlops: 0, tied: family === "gpt" },
  options: {
    epsilon: 1e-5,
    initializerRange: 0.02,
    positions: sequence,
    activation: "gelu_tanh",
    theta: 10000,
    headWidth: hidden / heads,
  },
});
const cases = [
  [
    "small-gpt",
    "gpt",
    "decoder",
    2,
    { hidden: 256, heads: 4, feedForward: 1024, sequence: 256, vocabulary: 1000 },
  ],
  [
    "gpt-2048",
    "gpt",
    "decoder",
    8,
    { hidden: 2048, heads: 16, feedForward: 8192, sequence: 2048, vocabulary: 50304 },
  ],
  [
    "gpt-4096",
    "gpt",
    "decoder",
    4,
    { hidden: 4096, heads: 32, feedForward: 16384, sequence: 2048, vocabulary: 50304 },
  ],
  [
    "gpt-768",
    "gpt",
    "decoder",
    32,
    { hidden: 768, heads: 12, feedForward: 3072, sequence: 1024, vocabulary: 50304 },
  ],
  [
    "gpt-768-head",
    "gpt",
    "head",
    32,
    { hidden: 768, heads: 12, feedForward: 3072, sequence: 1024, vocabulary: 50304 },
  ],
  [
    "gpt-768-embedding",
    "gpt",
    "embedding",
    32,
    { hidden: 768, heads: 12, feedForward: 3072, sequence: 1024, vocabulary: 50304 },
  ],
  [
    "small-llama",
    "llama",
    "decoder",
    2,
    { hidden: 256, heads: 4, feedForward: 704, sequence: 256, vocabulary: 1000 },
  ],
  [
    "llama-2048",
    "llama",
    "decoder",
    8,
    { hidden: 2048, heads: 16, feedForward: 5504, sequence: 2048, vocabulary: 32000 },
  ],
  [
    "llama-4096",
    "llama",
    "decoder",
    4,
    { hidden: 4096, heads: 32, feedForward: 11008, sequence: 2048, vocabulary: 32000 },
  ],
];
const wide = cases
  .filter(([name]) => name.startsWith("small"))
  .map(([name, ...rest]) => [`${name}-float32-gradients`, ...rest]);
for (const [name, family, kind, samples, shape] of [...cases, ...wide]) {
  let layer;
  try {
    layer = layerGraphs(
      model(family, shape),
      {
        kind,
        samples,
        precision: name.endsWith("float32-gradients") ? "bfloat16" : "bfloat16-gradients",
        lossTokens: samples * shape.sequence,
        strategy: {
          tensorDegree: 1,
          tensorSplit: "weights",
          dataDegree: 1,
          dataParallel: "ddp",
          recompute: false,
          placement: "consecutive",
        },
      },
      { customOps: true },
    );
  } catch (error) {
    process.stdout.write(`${name}: left out, ${error.message}\n`);
    continue;
  }
  const folder = path.join(out, name);
  mkdirSync(folder, { recursive: true });
  let counter = 0;
  const steps = (list) =>
    list.map((step) => {
      if (step.op !== "run") throw new Error(`${name}: a collective on one rank`);
      const file = `${counter++}.onnx`;
      writeFileSync(path.join(folder, file), step.bytes);
      return { file, graph: step.graph, inputs: step.inputs, outputs: step.outputs };
    });
  const forward = steps(layer.forward);
  const backward = steps(layer.backward);
  writeFileSync(
    path.join(folder, "layer.json"),
    JSON.stringify({
      name,
      family,
      kind,
      samples,
      ...shape,
      values: layer.values,
      constants: layer.constants,
      borderInputs: layer.borderInputs,
      borderOutputs: layer.borderOutputs,
      saved: layer.saved,
      forward,
      backward,
    }),
  );
  process.stdout.write(`${name}: ${counter} graphs, saved ${layer.saved.length}\n`);
}
