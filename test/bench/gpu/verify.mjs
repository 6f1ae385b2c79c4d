// Plans on all GPUs against one: losses and gradient norms of tiny GPT and LLaMA models, fixed and drawn plans.
//   node test/bench/gpu/verify.mjs [--plans 10] [--seed N] [--json FILE]
import { writeFileSync } from "node:fs";
import {
  captured,
  closeWorkers,
  dist,
  gpus,
  machine,
  option,
  record,
  stopCapturing,
  train,
} from "./product.mjs";

const { modelSpec } = dist("families/registry.js");
const { uniformPlan } = dist("plan/uniform.js");
const { drawPlan } = dist("plan/draw-plan.js");
const { describePlan } = dist("plan/describe-plan.js");
/** Every other plan reduces its gradients in bfloat16. */
const precisions = machine.cluster.device === "cuda" ? ["bfloat16", "bfloat16-gradients"] : ["float32"];
let turn = 0;
const limits = machine.cluster.device === "cuda" ? { loss: 5e-3, norm: 5e-2 } : { loss: 1e-4, norm: 1e-3 };
const budgetMs = Number(option("seconds", "100")) * 1e3;
const begin = performance.now();
const results = [];
let seed = Number(option("seed", String(Date.now() % 100000)));
const pick = (count) => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.floor((seed / 2 ** 32) * count);
};
const shape = { layers: 2, hidden: 256, heads: 4, sequence: 128, vocabulary: 512 };
const cases = [modelSpec("gpt", shape), modelSpec("llama", shape)];
const globalBatch = 8;
const steps = 5;
const apart = (a, b) =>
  Math.max(...a.map((x, i) => (Number.isFinite(b[i]) ? Math.abs(b[i] - x) / Math.abs(x) : Infinity)));

const one = new Map();
for (const model of cases)
  for (const precision of precisions)
    one.set(
      `${model.family} ${precision}`,
      await train(model, uniformPlan(model, { ranks: 1, globalBatch, precision }), steps),
    );
const check = async (model, name, plan, retry = true) => {
  if (performance.now() - begin > budgetMs) return;
  try {
    const got = await train(model, plan, steps);
    const alone = one.get(`${model.family} ${plan.precision}`);
    const loss = apart(alone.losses, got.losses);
    const norm = apart(alone.norms, got.norms);
    const ok = loss < limits.loss && norm < limits.norm;
    results.push({
      name: `${model.family} ${name}`,
      ok,
      loss,
      norm,
      captured: captured(),
      stepMs: got.stepMs,
      loadMs: got.loadMs,
      plan,
    });
    console.log(
      `${ok ? "ok  " : "FAIL"} ${model.family} ${name}: loss ${loss.toExponential(1)}, norm ${norm.toExponential(1)}; load ${(got.loadMs / 1e3).toFixed(1)} s, step ${got.stepMs.at(-1).toFixed(1)} ms`,
    );
    if (!ok)
      console.log(
        "   ",
        got.losses.join(" "),
        "| one:",
        alone.losses.join(" "),
        "| norms",
        got.norms.join(" "),
        "| one:",
        alone.norms.join(" "),
      );
  } catch (error) {
    console.log(`FAIL ${model.family} ${name}: ${error.code ?? ""} ${String(error.message).slice(0, 500)}`);
    await closeWorkers();
    if (retry && captured()) {
      stopCapturing(`${name}: ${error.message}`);
      console.log("     steps are enqueued instead of captured from here on");
      return check(model, name, plan, false);
    }
    results.push({
      name: `${model.family} ${name}`,
      ok: false,
      error: String(error.message).slice(0, 500),
      plan,
    });
  }
};
const fixed = [
  ["ddp", {}],
  ["zero1", { dataParallel: "zero1" }],
  ["zero2, 2 micro-batches", { dataParallel: "zero2", microBatches: 2 }],
  ["zero3", { dataParallel: "zero3" }],
  ["zero3, recompute", { dataParallel: "zero3", recompute: true }],
  ["tensor weights", { tensorDegree: gpus }],
  ["tensor sequence", { tensorDegree: gpus, tensorSplit: "sequence" }],
  ["tensor sequence, zero3", { tensorDegree: gpus, tensorSplit: "sequence", dataParallel: "zero3" }],
  ["pipeline 1f1b", { pipelineDegree: Math.min(gpus, 2), microBatches: 4 }],
  [
    "pipeline gpipe, recompute",
    { pipelineDegree: Math.min(gpus, 2), microBatches: 4, schedule: "gpipe", recompute: true },
  ],
];
if (gpus > 1)
  for (const model of cases)
    for (const [name, options] of fixed)
      await check(
        model,
        name,
        uniformPlan(model, {
          ranks: gpus,
          globalBatch,
          precision: precisions[turn++ % precisions.length],
          ...options,
        }),
      );
for (let i = 0; i < Number(option("plans", "10")) && gpus > 1; i++)
  for (const model of cases) {
    const precision = precisions[turn++ % precisions.length];
    const plan = drawPlan(model, { ranks: gpus, globalBatch, precision }, pick);
    await check(model, `drawn ${i}: ${describePlan(plan).join(" / ")}`, plan);
  }
await closeWorkers();
if (option("json")) writeFileSync(option("json"), JSON.stringify(results, null, 1));
const well = results.filter((r) => r.ok).length;
record(`verified-plans-${gpus}gpu`, {
  ours: well,
  peer: results.length,
  drawn: results.filter(({ name }) => name.includes(" drawn ")).length,
  ratio: well / Math.max(1, results.length),
  unit: `plans (loss within ${limits.loss}, gradient norm within ${limits.norm} of one GPU)`,
});
process.exit(well === results.length ? 0 : 1);
