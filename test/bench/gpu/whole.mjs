// A whole model on all GPUs: our plans beside PyTorch's FSDP2 + torch.compile, same global batch, one after the other.
//   node test/bench/gpu/whole.mjs gpt|llama [--steps 10] [--plans searched,zero2,ddp,zero3] [--no-peer] [--json FILE]
// "searched" needs profiles that predict.mjs left in STATE.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import {
  breakdown,
  captured,
  closeWorkers,
  dist,
  gpus,
  machine,
  models,
  option,
  record,
  root,
  settled,
  state,
  tiny,
  train,
} from "./product.mjs";

const { uniformPlan } = dist("plan/uniform.js");
const { describePlan } = dist("plan/describe-plan.js");
const { readHardwareTable } = dist("profiler/hardware-table.js");
const { readModelTable } = dist("profiler/model-table.js");
const { searchPlan } = dist("session/find-plan.js");
const family = process.argv[2];
const model = models[family];
const perGpu = tiny ? 2 : family === "gpt" ? 8 : 4;
const globalBatch = perGpu * gpus;
const name = { gpt: "gpt-1.4b", llama: "llama-6.7b" }[family];
const precision = machine.cluster.device === "cuda" ? "bfloat16" : "float32";
const steps = Number(option("steps", "10"));
const rows = [];

function peer() {
  const folder = path.join(root, "test", "bench", "peers");
  const run = spawnSync(
    "python3",
    [
      "-m",
      "torch.distributed.run",
      "--standalone",
      `--nproc-per-node=${gpus}`,
      "whole_models.py",
      family,
      "--micro",
      String(perGpu),
      "--steps",
      "8",
    ],
    { cwd: folder, encoding: "utf8", timeout: 200_000 },
  );
  const line = run.stdout?.split("\n").find((text) => text.startsWith("{"));
  if (!line) console.log("peer failed:", run.status, run.stderr?.slice(-1500));
  else console.log(line);
  return line ? JSON.parse(line) : null;
}

function searched() {
  const hardware = path.join(state, "hardware.arrow");
  const profile = path.join(state, `${family}.arrow`);
  if (!existsSync(hardware) || !existsSync(profile)) return null;
  const measured = { ...readModelTable(readFileSync(profile)), model };
  const budgetBytes = machine.cluster.memoryBytesPerRank * 0.95;
  return searchPlan({
    model,
    modelProfile: measured,
    machine: { machine, hardware: readHardwareTable(readFileSync(hardware)) },
    budgetBytes,
    options: { globalBatch },
  });
}

for (const kind of option("plans", "searched,zero2,ddp").split(",")) {
  try {
    const found = kind === "searched" ? searched() : null;
    if (kind === "searched" && !found) {
      console.log("searched: no profiles in", state);
      continue;
    }
    const [, base, micro] = /^(ddp|zero[123]|tp)x?(\d*)$/.exec(kind) ?? [];
    const plan =
      found?.report.plan ??
      uniformPlan(model, {
        ranks: gpus,
        globalBatch,
        precision,
        microBatches: Number(micro || 1),
        ...(base === "tp" ? { tensorDegree: gpus } : { dataParallel: base }),
      });
    const got = await train(model, plan, steps, { lowered: found?.lowered });
    const stepMs = settled(got.wallMs);
    const row = {
      kind,
      plan: describePlan(plan),
      stepMs,
      deviceMs: settled(got.stepMs),
      tokensPerSecond: (globalBatch * model.sequence * 1e3) / stepMs,
      predictedMs: found?.report.prediction.stepMs,
      predictedBytes: found?.memoryBytesByRank,
      memoryBytes: got.memoryBytes,
      arenaBytes: got.arenaBytes,
      onnxRuntimeBytes: got.onnxRuntimeBytes,
      loadMs: got.loadMs,
      losses: got.losses,
      stepsMs: got.stepMs,
      captured: captured(),
      breakdown: breakdown(got.programs[0], got.last[0].instructionsMs),
    };
    rows.push(row);
    console.log(
      `${name} ${kind} [${row.plan.join(" / ")}]: step ${stepMs.toFixed(1)} ms (device ${row.deviceMs.toFixed(1)}), ${Math.round(row.tokensPerSecond)} tokens/s, ${(got.memoryBytes[0] / 2 ** 30).toFixed(1)} GB, load ${(got.loadMs / 1e3).toFixed(0)} s, predicted ${row.predictedMs?.toFixed(1) ?? "-"}; losses ${got.losses.map((x) => x.toFixed(3)).join(" ")}`,
    );
    for (const [what, ms] of Object.entries(row.breakdown))
      console.log(`  ${ms.toFixed(2).padStart(9)} ms  ${what}`);
  } catch (error) {
    console.log(`FAIL ${name} ${kind}: ${error.code ?? ""} ${String(error.message).slice(0, 600)}`);
    rows.push({ kind, error: String(error.message).slice(0, 600) });
    await closeWorkers();
  }
}
await closeWorkers();
const theirs = process.argv.includes("--no-peer") || tiny ? null : peer();
if (option("json"))
  writeFileSync(
    option("json"),
    JSON.stringify({ model: model.name, globalBatch, rows, peer: theirs }, null, 1),
  );
const ran = rows.filter((row) => row.stepMs);
const ours = ran.find((row) => row.kind === "searched") ?? ran.sort((a, b) => a.stepMs - b.stepMs)[0];
if (ours)
  record(`${name}-${gpus}gpu`, {
    ours: ours.stepMs,
    peer: theirs?.step_ms ?? null,
    ratio: theirs ? theirs.step_ms / ours.stepMs : null,
    unit: "ms a step",
    plan: `${ours.kind}: ${ours.plan.join(" / ")}`,
    tokensPerSecond: ours.tokensPerSecond,
    globalBatch,
  });
process.exit(ours ? 0 : 1);
