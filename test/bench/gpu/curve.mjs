// GPT-2 124M on text, beside PyTorch from the same weights on the same batches: two loss curves and their difference.
//   node test/bench/gpu/curve.mjs [--steps 200] [--batch 32] [--text 'src/**,docs/**'] [--json FILE]
// PyTorch reads a bfloat16 copy of float32 masters, as ours does. It runs twice, compiled and eager: what two runs of
// PyTorch differ by is the noise that ours is held against. A third run, torch.autocast, keeps norms and the residual
// stream in float32 and so differs by more; it is stated beside.
import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import path from "node:path";
import {
  closeWorkers,
  dist,
  machine,
  option,
  precision,
  record,
  root,
  state,
  tiny,
  workers,
} from "./product.mjs";

const { modelSpec } = dist("families/registry.js");
const { uniformPlan } = dist("plan/uniform.js");
const { compilePlan } = dist("runtime/compile-plan.js");
const { text } = dist("runtime/data/data-description.js");
const { findData } = dist("runtime/data/find-data.js");
const { optimizerFrom } = dist("runtime/optimizer.js");
const { wholeParameters } = dist("runtime/verify/whole-parameters.js");

const steps = Number(option("steps", tiny ? "6" : "200"));
const globalBatch = Number(option("batch", tiny ? "4" : "32"));
const paths = option("text", "src/**,docs/*.md,test/**/*.ts,native/**").split(",");
const model = tiny
  ? modelSpec("gpt", { layers: 2, hidden: 64, heads: 4, sequence: 64, vocabulary: 256, tied: true })
  : modelSpec("gpt2-small", { vocabulary: 50304 });
const plan = uniformPlan(model, { ranks: 1, globalBatch, precision });
const compiled = compilePlan(model, plan, { device: machine.cluster.device });
const optimizer = optimizerFrom(
  { learningRate: { peak: 6e-4, warmupSteps: 20, schedule: { kind: "cosine", floor: 0.1 } } },
  steps,
);
const dataset = await findData(text(paths), model, 7, { folder: root, projectFolder: root }).prepare();
const pool = await workers(1);
await pool.load({ ...compiled, seed: 1, feed: { dataset, optimizer, steps }, firstStep: 0 });

const folder = path.join(state, "curve");
mkdirSync(folder, { recursive: true });
const whole = await wholeParameters(pool, compiled.programs, "parameter");
const weights = openSync(path.join(folder, "weights.bin"), "w");
const parameters = [...whole].map(([name, values]) => {
  writeSync(weights, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  return { name, elements: values.length };
});
closeSync(weights);

// What the rank was given, as it stands in its tensors: [sequence, batch] of int64, once a step.
const { inputs } = compiled.programs[0].io;
const batches = openSync(path.join(folder, "batches.bin"), "w");
const losses = [];
const rates = [];
const norms = [];
for (let step = 0; step < steps; step++) {
  const [[rank]] = await pool.run(1);
  losses.push(rank.losses.reduce((a, b) => a + b, 0));
  rates.push(rank.learningRate);
  norms.push(rank.gradientNorm);
  const read = await pool.read(0, [inputs.tokens[0], inputs.labels[0]]);
  for (const bytes of read) writeSync(batches, bytes);
}
closeSync(batches);
await closeWorkers();
writeFileSync(
  path.join(folder, "curve.json"),
  JSON.stringify({
    steps,
    batch: globalBatch,
    sequence: model.sequence,
    vocabulary: model.vocabulary,
    hidden: model.kinds.decoder.hidden,
    layers: model.layers.length,
    heads: model.kinds.decoder.heads,
    feed_forward: model.kinds.decoder.feedForward,
    epsilon: Number(model.options.epsilon),
    parameters,
    rates,
    beta1: optimizer.beta1,
    beta2: optimizer.beta2,
    adam_epsilon: optimizer.epsilon,
    weight_decay: optimizer.weightDecay,
    max_norm: optimizer.maxNorm,
  }),
);
console.log(`ours: ${losses[0].toFixed(4)} -> ${losses.at(-1).toFixed(4)} in ${steps} steps`);

function peer(...flags) {
  const run = spawnSync(
    process.env.PYTHON ?? "python3",
    [path.join(root, "test", "bench", "peers", "gpt2_curve.py"), folder, ...flags],
    {
      encoding: "utf8",
      timeout: 200_000,
      env: { ...process.env, CUDA_VISIBLE_DEVICES: process.env.CUDA_VISIBLE_DEVICES?.split(",")[0] ?? "0" },
    },
  );
  const line = run.stdout?.split("\n").find((text) => text.startsWith("{"));
  if (!line) console.log("peer failed:", run.status, run.stderr?.slice(-1500));
  return line ? JSON.parse(line) : null;
}
const device = machine.cluster.device === "cuda" ? [] : ["--cpu"];
const compiledPeer = peer(...device, ...(tiny ? ["--eager"] : []));
const eagerPeer = peer("--eager", ...device);
const autocastPeer = process.argv.includes("--no-autocast")
  ? null
  : peer("--autocast", ...device, ...(tiny ? ["--eager"] : []));
const apart = (a, b) => {
  const differences = a.map((loss, i) => Math.abs(loss - b[i]));
  return {
    mean: differences.reduce((sum, x) => sum + x, 0) / differences.length,
    worst: Math.max(...differences),
    last: differences.at(-1),
  };
};
const result = {
  losses,
  norms,
  rates,
  peer: compiledPeer,
  eager: eagerPeer,
  autocast: autocastPeer,
  ...(autocastPeer && { oursToAutocast: apart(losses, autocastPeer.losses) }),
  ...(autocastPeer &&
    compiledPeer && { compiledToAutocast: apart(compiledPeer.losses, autocastPeer.losses) }),
  ...(compiledPeer && { ours: apart(losses, compiledPeer.losses) }),
  ...(compiledPeer && eagerPeer && { noise: apart(eagerPeer.losses, compiledPeer.losses) }),
};
if (option("json")) writeFileSync(option("json"), JSON.stringify(result));
const { ours, noise, oursToAutocast, compiledToAutocast } = result;
console.log(JSON.stringify({ ours, noise, oursToAutocast, compiledToAutocast }));
if (ours && noise)
  record("gpt2-124m-loss-curve", {
    ours: ours.mean,
    peer: noise.mean,
    ratio: noise.mean / ours.mean,
    unit: `mean |loss difference| to PyTorch compiled over ${steps} steps; peer: PyTorch eager's`,
    worst: ours.worst,
    noiseWorst: noise.worst,
    toAutocast: oursToAutocast?.mean ?? null,
    compiledToAutocast: compiledToAutocast?.mean ?? null,
    firstLoss: losses[0],
    lastLoss: losses.at(-1),
    peerLastLoss: compiledPeer.losses.at(-1),
  });
process.exit(ours ? 0 : 1);
