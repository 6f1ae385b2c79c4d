// Freezes predictions of many plans of a model, then runs each: errors of step time and memory, and their ranks.
//   node test/bench/gpu/predict.mjs gpt|llama [--plans 16] [--layers 6] [--batch 32] [--ranks N] [--seconds 200] [--json FILE]
//     [--seed 7] [--transfer-blocks 4]     the last runs the pipelines again with so many blocks for transfers
import { writeFileSync } from "node:fs";
import { execute, freeze, planText, recordErrors, spearman } from "./executed.mjs";
import { closeWorkers, dist, gpus, models, option, precision, record, tiny } from "./product.mjs";
import { describeProfiles, profiles, seconds } from "./profiles.mjs";

const { uniformPlan } = dist("plan/uniform.js");
const { drawPlan } = dist("plan/draw-plan.js");
const { predict } = dist("cost/predict.js");
const { verifyPlan } = dist("plan/verify-plan.js");

const family = process.argv[2];
const whole = models[family];
const model = { ...whole, layers: whole.layers.slice(0, Number(option("layers", "6"))) };
const globalBatch = Number(option("batch", String((tiny ? 2 : family === "gpt" ? 8 : 4) * gpus)));
const known = await profiles(family);
console.log(describeProfiles(known));

let seed = Number(option("seed", "7"));
const pick = (count) => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.floor((seed / 2 ** 32) * count);
};
const base = { ranks: gpus, globalBatch, precision };
const wanted = Number(option("plans", "16"));
const plans = new Map();
const add = (plan) => {
  if (plans.size < wanted && verifyPlan(model, plan).length === 0) plans.set(planText(plan), plan);
};
for (const options of [
  {},
  { dataParallel: "zero1" },
  { dataParallel: "zero2" },
  { dataParallel: "zero2", microBatches: 2 },
  { dataParallel: "zero3" },
  { dataParallel: "zero3", recompute: true },
  { dataParallel: "ddp", microBatches: 2, recompute: true },
  ...(gpus > 1
    ? [
        { tensorDegree: gpus },
        { tensorDegree: gpus, microBatches: 2 },
        { tensorDegree: gpus, tensorSplit: "sequence" },
        { pipelineDegree: 2, microBatches: 4 },
        { pipelineDegree: 2, microBatches: 2, schedule: "gpipe" },
      ]
    : []),
  ...(gpus > 2
    ? [
        { tensorDegree: 2 },
        { tensorDegree: 2, dataParallel: "zero3" },
        { pipelineDegree: 2, tensorDegree: 2, microBatches: 4 },
        { pipelineDegree: 4, microBatches: 4 },
      ]
    : []),
])
  add(uniformPlan(model, { ...base, ...options }));
const drawn = [];
for (let i = 0; i < 20 * wanted; i++) {
  const any = drawPlan(model, base, pick);
  // One micro-batch runs alike under either schedule: such plans would count twice.
  const plan = any.microBatches === 1 ? { ...any, schedule: "1f1b" } : any;
  // Samples a rank below the smallest measured are the extrapolation's business, not this one's.
  if (plan.microBatches <= 4 && verifyPlan(model, plan).length === 0) drawn.push(plan);
}
// Of plans with one price the first counts: which of a stage's equal layers recompute, say, changes nothing, and a tie has no rank.
const textAt = new Map();
const priced = [...plans.values(), ...drawn]
  .map((plan) => ({
    plan,
    stepMs: predict(model, plan, { ...known.modelProfile, model }, known.hardware).stepMs,
  }))
  .filter(({ plan, stepMs }) => {
    const [price, text] = [stepMs.toFixed(6), planText(plan)];
    if (!textAt.has(price)) textAt.set(price, text);
    return textAt.get(price) === text;
  });
// The ten that the model likes best of all these, however they came; the rest are as they were drawn.
const liked = new Map();
for (const { plan } of [...priced].sort((a, b) => a.stepMs - b.stepMs))
  if (liked.size < 10) liked.set(planText(plan), plan);
for (const plan of liked.values()) add(plan);
for (const { plan } of priced) add(plan);
const { frozen, hash } = freeze(model, [...plans.values()], known);
frozen.sort((a, b) => a.prediction.stepMs - b.prediction.stepMs);
// The ten predicted to be fastest, then the others in any order: whenever time ends, slow ones are among them.
const others = frozen.splice(10);
while (others.length > 0) frozen.push(...others.splice(pick(others.length), 1));
console.log(
  `${frozen.length} predictions frozen after ${seconds().toFixed(0)} s: ${hash} (hardware ${known.hardwareHash}, model ${known.modelHash})`,
);
const inTime = () => seconds() < Number(option("seconds", "240"));
const rows = [];
for (const each of frozen) if (inTime()) rows.push(await execute(model, each));
await closeWorkers();
const again = [];
if (option("transfer-blocks") && gpus > 1) {
  process.env.GALVATRON_NCCL_TRANSFER_BLOCKS = option("transfer-blocks");
  console.log(`pipelines again, ${option("transfer-blocks")} blocks for a transfer`);
  for (const each of frozen)
    if (each.prediction.plan.stageLayers.length > 1 && again.length < 3 && inTime())
      again.push(await execute(model, each));
  await closeWorkers();
}
const ran = rows.filter((row) => row.measuredMs);
if (option("json"))
  writeFileSync(
    option("json"),
    JSON.stringify({ model: model.name, layers: model.layers.length, globalBatch, hash, rows, again }),
  );
recordErrors(`predict-${family}-${gpus}gpu`, rows, hash);
if (ran.length > 1) {
  const [predicted, measured] = [ran.map((row) => row.stepMs), ran.map((row) => row.measuredMs)];
  record(`rank-correlation-${family}-${gpus}gpu`, {
    ours: spearman(predicted, measured),
    unit: "Spearman",
    plans: ran.length,
    // Of the plans predicted to be fastest, the first one's time over the best time of all.
    bestPredictedOverBest: measured[predicted.indexOf(Math.min(...predicted))] / Math.min(...measured),
  });
}
process.exit(ran.length > 0 ? 0 : 1);
