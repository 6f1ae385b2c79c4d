// Profiles the machine and a model, freezes predictions of many plans, then runs each: errors of step time and memory.
//   node test/bench/gpu/predict.mjs gpt|llama [--plans 16] [--layers 6] [--seconds 200] [--json FILE]
// The profiles stay in STATE (hardware.arrow, gpt.arrow, llama.arrow) for searches by whole.mjs.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import {
  breakdown,
  closeWorkers,
  dist,
  gpus,
  machine,
  models,
  option,
  record,
  settled,
  state,
  tiny,
  train,
  workers,
} from "./product.mjs";

const { uniformPlan } = dist("plan/uniform.js");
const { drawPlan } = dist("plan/draw-plan.js");
const { verifyPlan } = dist("plan/verify-plan.js");
const { describePlan } = dist("plan/describe-plan.js");
const { profileHardware } = dist("profiler/profile-hardware.js");
const { profileModel } = dist("profiler/profile-model.js");
const { matmulGraph } = dist("profiler/matmul-graph.js");
const { readHardwareTable, writeHardwareTable } = dist("profiler/hardware-table.js");
const { readModelTable, writeModelTable } = dist("profiler/model-table.js");
const { planByHand } = dist("session/find-plan.js");
const { costModel } = dist("cost/cost-model.js");
const { programDurations } = dist("program/program-durations.js");
const { simulate } = dist("program/simulate.js");

const family = process.argv[2];
const whole = models[family];
const model = { ...whole, layers: whole.layers.slice(0, Number(option("layers", "6"))) };
const precision = machine.cluster.device === "cuda" ? "bfloat16" : "float32";
const globalBatch = tiny ? 4 : family === "gpt" ? 16 : 8;
const samples = tiny ? [1, 2] : family === "gpt" ? [1, 4, 8] : [1, 4];
const begin = performance.now();
const seconds = () => ((performance.now() - begin) / 1e3).toFixed(0);
const kept = async (file, read, make) => {
  const at = path.join(state, file);
  if (!existsSync(at)) writeFileSync(at, await make());
  const bytes = readFileSync(at);
  return [read(bytes), createHash("sha256").update(bytes).digest("hex").slice(0, 16)];
};

const [hardware, hardwareHash] = await kept("hardware.arrow", readHardwareTable, async () =>
  writeHardwareTable(
    await profileHardware(await workers(), machine.cluster, matmulGraph, () => {}, { warmup: 3, repeats: 5 }),
  ),
);
console.log(
  `hardware profile after ${seconds()} s: reserve ${(hardware.reservedBytes / 2 ** 20).toFixed(0)} MB, optimizer ${hardware.optimizerGBps.toFixed(0)} GB/s, overlap ${hardware.computeSlowdown.toFixed(2)} ${hardware.communicationSlowdown.toFixed(2)}, launch ${(hardware.launchMs * 1e3).toFixed(1)} us`,
);
for (const m of hardware.matmuls)
  console.log(
    `  matmul ${m.m}x${m.k}x${m.n} ${m.dtype}: ${m.timeMs.toFixed(3)} ms, ${((2 * m.m * m.k * m.n) / m.timeMs / 1e9).toFixed(0)} TFLOP/s`,
  );
for (const c of hardware.collectives)
  console.log(`  ${c.collective} ${c.ranks} ranks ${c.sizeBytes} B: ${c.timeMs.toFixed(4)} ms`);
const [measured, modelHash] = await kept(`${family}.arrow`, readModelTable, async () =>
  writeModelTable(
    await profileModel(
      await workers(),
      whole,
      machine.cluster.deviceName,
      ({ label }) => console.log(`  ${seconds()} s ${label}`),
      { precision, samples, warmup: 3, repeats: 3 },
    ),
  ),
);
console.log(`${family} profile after ${seconds()} s`);
for (const l of measured.layers)
  console.log(
    `  ${l.kind} ${l.tensorSplit}/${l.tensorDegree} x${l.samples}: forward ${l.forwardMs.toFixed(3)} backward ${l.backwardMs.toFixed(3)} ms, workspace ${(l.workspaceBytes / 2 ** 20).toFixed(0)} MB, activations ${(l.activationBytes / 2 ** 20).toFixed(0)} MB`,
  );

let seed = Number(option("seed", "7"));
const pick = (count) => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.floor((seed / 2 ** 32) * count);
};
const base = { ranks: gpus, globalBatch, precision };
const plans = [
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
]
  .map((options) => uniformPlan(model, { ...base, ...options }))
  .filter((plan) => verifyPlan(model, plan).length === 0);
const wanted = Number(option("plans", "16"));
for (let i = 0; plans.length < wanted && i < 10 * wanted; i++) {
  const plan = drawPlan(model, base, pick);
  // Samples a rank below the smallest measured are the extrapolation's business, not this one's.
  if (plan.microBatches <= 4) plans.push(plan);
}
const frozen = plans
  .slice(0, wanted)
  .flatMap((plan) => {
    try {
      const found = planByHand({
        model,
        modelProfile: { ...measured, model },
        machine: { machine, hardware },
        plan,
      });
      const simulated = simulate(
        found.lowered.programs,
        programDurations(costModel(model, { ...measured, model }, hardware)),
        { overlap: hardware },
      );
      return [
        {
          plan,
          text: describePlan(plan).join(" / "),
          lowered: found.lowered,
          stepMs: found.report.prediction.stepMs,
          simulatedMs: simulated.stepMs ?? null,
          memoryBytes: Math.max(...found.memoryBytesByRank),
        },
      ];
    } catch (error) {
      console.log("not predicted:", describePlan(plan).join(" / "), String(error.message).slice(0, 300));
      return [];
    }
  })
  .sort((a, b) => a.stepMs - b.stepMs);
const predictionsHash = createHash("sha256")
  .update(JSON.stringify(frozen.map(({ lowered, ...rest }) => rest)))
  .digest("hex")
  .slice(0, 16);
console.log(
  `${frozen.length} predictions frozen after ${seconds()} s: ${predictionsHash} (hardware ${hardwareHash}, model ${modelHash})`,
);

const rows = [];
for (const { lowered, ...prediction } of frozen) {
  if (Number(seconds()) > Number(option("seconds", "240"))) break;
  try {
    const got = await train(model, prediction.plan, 8, { lowered });
    const row = {
      ...prediction,
      measuredMs: settled(got.stepMs, 4),
      wallMs: settled(got.wallMs, 4),
      measuredBytes: Math.max(...got.memoryBytes),
      arenaBytes: got.arenaBytes,
      onnxRuntimeBytes: got.onnxRuntimeBytes,
      breakdown: breakdown(got.programs[0], got.last[0].instructionsMs),
    };
    rows.push(row);
    console.log(
      `${prediction.text}: step ${prediction.stepMs.toFixed(1)} (simulated ${prediction.simulatedMs?.toFixed(1)}) measured ${row.measuredMs.toFixed(1)} ms (${(100 * (prediction.stepMs / row.measuredMs - 1)).toFixed(1)} %); memory ${(prediction.memoryBytes / 2 ** 20).toFixed(0)} measured ${(row.measuredBytes / 2 ** 20).toFixed(0)} MB (${(100 * (prediction.memoryBytes / row.measuredBytes - 1)).toFixed(1)} %), load ${(got.loadMs / 1e3).toFixed(1)} s`,
    );
  } catch (error) {
    console.log(`FAIL ${prediction.text}: ${error.code ?? ""} ${String(error.message).slice(0, 400)}`);
    await closeWorkers();
  }
}
await closeWorkers();
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const ranksOf = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return values.map((value) => sorted.indexOf(value));
};
function spearman(a, b) {
  const [x, y] = [ranksOf(a), ranksOf(b)];
  const [mx, my] = [mean(x), mean(y)];
  const cross = (p, mp, q, mq) => p.reduce((sum, value, i) => sum + (value - mp) * (q[i] - mq), 0);
  return cross(x, mx, y, my) / Math.sqrt(cross(x, mx, x, mx) * cross(y, my, y, my));
}
if (option("json"))
  writeFileSync(
    option("json"),
    JSON.stringify(
      {
        model: model.name,
        layers: model.layers.length,
        globalBatch,
        predictionsHash,
        hardwareHash,
        modelHash,
        reservedBytes: hardware.reservedBytes,
        profile: measured.layers,
        hardware,
        rows,
      },
      null,
      1,
    ),
  );
if (rows.length > 0) {
  // All models that ran so far count together.
  const all = path.join(state, "predictions.json");
  const before = existsSync(all)
    ? JSON.parse(readFileSync(all, "utf8")).filter((row) => row.family !== family)
    : [];
  const now = [
    ...before,
    ...rows.map((row) => ({
      family,
      stepMs: row.stepMs,
      simulatedMs: row.simulatedMs,
      measuredMs: row.measuredMs,
      memoryBytes: row.memoryBytes,
      measuredBytes: row.measuredBytes,
    })),
  ];
  writeFileSync(all, JSON.stringify(now));
  const time = now.map((row) => Math.abs(row.stepMs / row.measuredMs - 1));
  const simulatedTime = now.map((row) => Math.abs(row.simulatedMs / row.measuredMs - 1));
  const memory = now.map((row) => Math.abs(row.memoryBytes / row.measuredBytes - 1));
  record("step-time-error-mean", {
    ours: mean(time),
    worst: Math.max(...time),
    simulated: mean(simulatedTime),
    plans: now.length,
    unit: "fraction",
    predictionsHash,
  });
  record("memory-error-mean", {
    ours: mean(memory),
    worst: Math.max(...memory),
    plans: now.length,
    unit: "fraction",
  });
  record(`rank-correlation-${family}`, {
    ours: spearman(
      rows.map((row) => row.stepMs),
      rows.map((row) => row.measuredMs),
    ),
    unit: "Spearman",
    plans: rows.length,
  });
}
process.exit(rows.length > 0 ? 0 : 1);
