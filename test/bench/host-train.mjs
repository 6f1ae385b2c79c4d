// Tokens per second of a GPT on host ranks, ours beside PyTorch (CPU, DistributedDataParallel over gloo), interleaved in
// one run on the same cores.
//   npm run build && node test/bench/host-train.mjs [--rounds 3] [--steps 8] [--write]
// --write records the result in docs/benchmarks/host-train.md. PyTorch comes from .venv (node bootstrap.mjs venv).
import { spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism, cpus } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
process.chdir(root);
const require = createRequire(join(root, "dist/src/index.js"));
const { modelSpec } = require("./families/registry.js");
const { uniformPlan } = require("./plan/uniform.js");
const { compilePlan } = require("./runtime/compile-plan.js");
const { hostPoolOptions } = require("./runtime/coordinator/host-pool.js");
const { startTraining } = require("./runtime/coordinator/train.js");
const { syntheticDataset } = require("./runtime/data/find-data.js");
const { optimizerFrom } = require("./runtime/optimizer.js");

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    steps: { type: "string", default: "8" },
    write: { type: "boolean", default: false },
  },
});
const rounds = Number(values.rounds);
const steps = Number(values.steps);
const warmup = 3;
const shape = { layers: 8, hidden: 512, heads: 8, sequence: 256, vocabulary: 256 };
const globalBatch = 8;
const python = ".venv/bin/python";
if (!existsSync(python)) throw new Error("No .venv: run `node bootstrap.mjs venv` first.");

const cores = availableParallelism();
const results = new Map();
for (let round = 0; round < rounds; round++) {
  for (const ranks of [1, 2]) {
    note(`torch, ${ranks} rank(s)`, torch(ranks));
    note(`ours, ${ranks} rank(s)`, await ours(ranks));
  }
}

const rows = [1, 2].map((ranks) => {
  const peer = median(results.get(`torch, ${ranks} rank(s)`));
  const own = median(results.get(`ours, ${ranks} rank(s)`));
  return { ranks, own, peer, ratio: own / peer };
});
const table = [
  "| ranks × threads | ours, tokens/s | PyTorch, tokens/s | ratio | spread ours | spread PyTorch |",
  "|---|---|---|---|---|---|",
  ...rows.map(
    (r) =>
      `| ${r.ranks} × ${threads(r.ranks)} | ${r.own.toFixed(0)} | ${r.peer.toFixed(0)} | ${r.ratio.toFixed(2)} | ${spread(`ours, ${r.ranks} rank(s)`)} | ${spread(`torch, ${r.ranks} rank(s)`)} |`,
  ),
].join("\n");
process.stdout.write(`${table}\n`);
if (values.write) {
  writeFileSync(
    "docs/benchmarks/host-train.md",
    [
      "# Training a GPT on host ranks, beside PyTorch",
      "",
      `GPT of 8 layers, hidden 512, sequence 256, vocabulary 256, global batch ${globalBatch}, float32, AdamW with clipping.`,
      `Command: \`node test/bench/host-train.mjs --rounds ${rounds} --steps ${steps} --write\``,
      `Machine: ${cores} cores of ${cpus()[0].model}. Date: ${new Date().toISOString().slice(0, 10)}.`,
      "PyTorch 2.13.0 (CPU build), eager, scaled_dot_product_attention, fused AdamW, DistributedDataParallel over gloo.",
      `Medians of ${rounds} interleaved rounds of ${steps} steps each; the ratio is what counts, the figures are this machine's.`,
      "",
      table,
      "",
    ].join("\n"),
  );
}

function threads(ranks) {
  return Math.max(1, Math.floor(cores / ranks));
}

/** Tokens per second of PyTorch in processes of its own. */
function torch(ranks) {
  const { stdout, stderr, status } = spawnSync(
    python,
    [
      "test/bench/peers/host_gpt.py",
      "--ranks",
      ranks,
      "--threads",
      threads(ranks),
      "--steps",
      steps,
      "--warmup",
      warmup,
    ].map(String),
    { encoding: "utf8" },
  );
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout.trim().split("\n").at(-1)).tokensPerSecond;
}

/** Tokens per second of our workers, data parallel over `ranks`. */
async function ours(ranks) {
  const model = modelSpec("gpt", shape);
  const plan = uniformPlan(model, { ranks, globalBatch });
  const { programs, graphs } = compilePlan(model, plan);
  const total = warmup + steps;
  const training = startTraining(
    {
      programs,
      graphs,
      seed: 0,
      feed: {
        dataset: syntheticDataset(model, 0),
        optimizer: optimizerFrom({ learningRate: 1e-3 }, total),
        steps: total,
      },
      tokensPerStep: globalBatch * shape.sequence,
      firstStep: 0,
    },
    { options: hostPoolOptions(ranks) },
    () => {},
  );
  const { records } = await training.done;
  return median(records.filter((r) => r.rank === 0 && r.step >= warmup).map((r) => r.tokensPerSecond));
}

function note(name, tokensPerSecond) {
  results.set(name, [...(results.get(name) ?? []), tokensPerSecond]);
  process.stderr.write(`${name}: ${tokensPerSecond.toFixed(0)} tokens/s\n`);
}

function median(samples) {
  const sorted = [...samples].sort((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2;
}

function spread(name) {
  const samples = results.get(name);
  return `${Math.min(...samples).toFixed(0)}–${Math.max(...samples).toFixed(0)}`;
}
