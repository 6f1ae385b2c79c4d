// The product's Programs on GPUs, through its own workers: random plans against the host, then GPT-2 124M timed.
//   node test/gpu/programs.mjs [--gpus N] [--plans 8] [--device cuda|host] [--runtime libonnxruntime.so.1]
//                              [--time gpt2] [--json FILE]
// Needs dist/ and build/native. Losses of the tiny model on the GPU (bfloat16, custom ops) must follow those of the
// host (float32, standard ops); gradients' norms too.
import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..", "..");
const require = createRequire(import.meta.url);
const dist = (name) => require(path.join(process.env.GALVATRON_DIST ?? path.join(root, "dist", "src"), name));
const option = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : process.argv[at + 1];
};
const { layerGraphs } = dist("graph/build-layer-graphs.js");
const { modelSpec } = dist("families/registry.js");
const { uniformPlan } = dist("plan/uniform.js");
const { drawPlan } = dist("plan/draw-plan.js");
const { describePlan } = dist("plan/describe-plan.js");
const { lowerPlan } = dist("program/lower-plan.js");
const { loadAddon } = dist("device/load-addon.js");
const { onnxRuntimePath } = dist("device/onnx-runtime-path.js");
const { openWorkerPool } = dist("runtime/coordinator/worker-pool.js");
const { syntheticDataset } = dist("runtime/data/find-data.js");
const { optimizerFrom } = dist("runtime/optimizer.js");

const gpus = Number(option("gpus", "1"));
const device = option("device", "cuda");
const runtime = option("runtime", onnxRuntimePath());
const addon = loadAddon();
const results = [];

const lower = (model, plan, customOps) => {
  const known = new Map();
  return lowerPlan(model, plan, {
    graphsFor: (request) => {
      const key = JSON.stringify(request);
      if (!known.has(key)) known.set(key, layerGraphs(model, request, { customOps }));
      return known.get(key);
    },
  });
};

async function train(model, plan, { on, steps, seed = 1 }) {
  const lowered = lower(model, plan, on === "cuda");
  const pool = await openWorkerPool({
    addon,
    onnxRuntimePath: on === "cuda" ? runtime : onnxRuntimePath(),
    ranks: plan.ranks,
    device: on,
    threads: 2,
    deadlineMs: 60_000,
    sharedBytesPerRank: 8 * 2 ** 20,
  });
  try {
    const dataset = syntheticDataset(model, 7);
    const optimizer = optimizerFrom(
      { learningRate: { peak: 1e-3, warmupSteps: 0, schedule: { kind: "constant" } } },
      steps,
    );
    const begin = performance.now();
    await pool.load({ ...lowered, seed, feed: { dataset, optimizer, steps }, firstStep: 0 });
    const loadMs = performance.now() - begin;
    const ran = await pool.run(steps);
    return {
      lowered,
      loadMs,
      losses: ran.map((ranks) => ranks.reduce((sum, rank) => sum + rank.loss, 0)),
      norms: ran.map((ranks) => ranks[0].gradientNorm),
      stepMs: ran.map((ranks) => Math.max(...ranks.map((rank) => rank.stepMs))),
      wallMs: ran.map((ranks) => Math.max(...ranks.map((rank) => rank.wallMs))),
      last: ran.at(-1),
    };
  } finally {
    await pool.close();
  }
}

async function guarded(name, run) {
  try {
    await run();
  } catch (error) {
    results.push({ name, ok: false, error: `${error.code ?? ""} ${error.message}` });
    console.log(`FAIL ${name}: ${error.code ?? ""} ${String(error.message).slice(0, 600)}`);
  }
}

const tiny = modelSpec("gpt", { layers: 2, hidden: 256, heads: 4, sequence: 128, vocabulary: 512 });
const reference = new Map();
async function hostLosses(globalBatch) {
  if (!reference.has(globalBatch)) {
    const plan = uniformPlan(tiny, { ranks: 1, globalBatch });
    reference.set(globalBatch, await train(tiny, plan, { on: "host", steps: 5 }));
  }
  return reference.get(globalBatch);
}

async function follows(name, plan) {
  await guarded(name, async () => {
    const expected = await hostLosses(plan.globalBatch);
    const got = await train(tiny, plan, { on: device, steps: 5 });
    const apart = (a, b) =>
      Math.max(
        ...a.map((x, i) =>
          Number.isFinite(b[i]) ? Math.abs(b[i] - x) / Math.abs(x) : Number.POSITIVE_INFINITY,
        ),
      );
    const loss = apart(expected.losses, got.losses);
    const norm = apart(expected.norms, got.norms);
    const ok = loss < 0.01 && norm < 0.05;
    results.push({
      name,
      ok,
      loss,
      norm,
      plan,
      losses: got.losses,
      expected: expected.losses,
      stepMs: got.stepMs,
    });
    console.log(
      `${ok ? "ok  " : "FAIL"} ${name}: losses apart ${loss.toExponential(1)}, gradient norms ${norm.toExponential(1)}; steps ${got.stepMs.map((ms) => ms.toFixed(1)).join(" ")} ms`,
    );
    if (!ok)
      console.log(
        "   ",
        got.losses.join(" "),
        "| host",
        expected.losses.join(" "),
        "| norms",
        got.norms.join(" "),
        "|",
        expected.norms.join(" "),
      );
  });
}

let state = Number(option("seed", String(Date.now() % 100000)));
const pick = (count) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * count);
};

await follows("one rank", uniformPlan(tiny, { ranks: 1, globalBatch: 8, precision: "bfloat16" }));
await follows(
  "one rank, two micro-batches, recompute",
  uniformPlan(tiny, { ranks: 1, globalBatch: 8, microBatches: 2, recompute: true, precision: "bfloat16" }),
);
if (gpus > 1) {
  for (const [name, options] of [
    ["ddp", {}],
    ["zero1", { dataParallel: "zero1" }],
    ["zero2", { dataParallel: "zero2", microBatches: 2 }],
    ["zero3", { dataParallel: "zero3" }],
    ["tensor weights", { tensorDegree: gpus }],
    ["tensor sequence", { tensorDegree: gpus, tensorSplit: "sequence" }],
    ["pipeline 1f1b", { pipelineDegree: 2, microBatches: 4 }],
    ["pipeline gpipe", { pipelineDegree: 2, microBatches: 4, schedule: "gpipe" }],
  ])
    await follows(
      `${gpus} ranks, ${name}`,
      uniformPlan(tiny, { ranks: gpus, globalBatch: 8, precision: "bfloat16", ...options }),
    );
  for (let i = 0; i < Number(option("plans", "8")); i++) {
    const plan = drawPlan(tiny, { ranks: gpus, globalBatch: 8, precision: "bfloat16" }, pick);
    await follows(`${gpus} ranks, drawn: ${describePlan(plan).join(" / ")}`, plan);
  }
}

for (const name of option("time", "").split(",").filter(Boolean)) {
  await guarded(name, async () => {
    const sizes = {
      gpt2: [modelSpec("gpt2-small", { vocabulary: 50304 }), { ranks: 1, globalBatch: 32 }],
      "gpt2-dp": [
        modelSpec("gpt2-small", { vocabulary: 50304 }),
        { ranks: gpus, globalBatch: 32 * gpus, dataParallel: "zero2" },
      ],
      "gpt-1.4b": [
        modelSpec("gpt", {
          layers: 24,
          hidden: 2048,
          heads: 16,
          sequence: 2048,
          vocabulary: 50304,
          tied: false,
        }),
        { ranks: gpus, globalBatch: 8 * gpus, dataParallel: gpus > 1 ? "zero2" : "ddp" },
      ],
    };
    const [model, options] = sizes[name];
    const steps = Number(option("steps", "12"));
    const plan = uniformPlan(model, { precision: "bfloat16", ...options });
    const got = await train(model, plan, { on: device, steps });
    const tail = got.stepMs.slice(4).sort((a, b) => a - b);
    const wall = got.wallMs.slice(4).sort((a, b) => a - b);
    const stepMs = tail[tail.length >> 1];
    const program = got.lowered.programs[0];
    const byWhat = {};
    program.instructions.forEach((instruction, i) => {
      const times = got.last[0].instructionsMs;
      const key =
        instruction.op === "run"
          ? `run ${program.graphs[instruction.graph].name}`
          : `${instruction.op} (${instruction.stream})`;
      byWhat[key] = (byWhat[key] ?? 0) + times[2 * i + 1] - times[2 * i];
    });
    const row = {
      name,
      gpus: options.ranks,
      stepMs,
      wallMs: wall[wall.length >> 1],
      tokensPerSecond: ((plan.globalBatch * model.sequence) / stepMs) * 1e3,
      loadMs: got.loadMs,
      stepsMs: got.stepMs,
      losses: got.losses,
      instructions: program.instructions.length,
      arenaMB: got.last[0].arenaBytes / 2 ** 20,
      onnxRuntimeMB: got.last[0].onnxRuntimeBytes / 2 ** 20,
      byWhat,
    };
    results.push(row);
    console.log(
      `${name}: step ${stepMs.toFixed(2)} ms (wall ${row.wallMs.toFixed(2)}), ${Math.round(row.tokensPerSecond)} tokens/s, arena ${row.arenaMB.toFixed(0)} MB, runtime ${row.onnxRuntimeMB.toFixed(0)} MB, load ${(row.loadMs / 1e3).toFixed(1)} s`,
    );
    console.log(
      `  losses ${got.losses.map((x) => x.toFixed(3)).join(" ")}; steps ${got.stepMs.map((x) => x.toFixed(1)).join(" ")}`,
    );
    for (const [key, ms] of Object.entries(byWhat).sort((a, b) => b[1] - a[1]))
      console.log(`  ${ms.toFixed(2).padStart(9)} ms  ${key}`);
  });
}
const file = option("json");
if (file) {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, JSON.stringify(results, null, 1));
}
const failed = results.filter((r) => r.ok === false);
console.log(`programs: ${results.length - failed.length} of ${results.length} well`);
process.exit(failed.length > 0 ? 1 : 0);
