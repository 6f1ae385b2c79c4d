// A whole model on all GPUs: our plans beside PyTorch's FSDP2 + torch.compile, same global batch, one after the other.
//   node test/bench/gpu/whole.mjs gpt|llama [--steps 10] [--plans searched,zero2,ddp,zero3] [--layers N] [--no-peer] [--json FILE]
// LLaMA has half of its layers where less than four GPUs of less than 100 GB would have to hold it: the states of a GPU
// are then those of the whole model on twice as many.
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { freeze, instructionTimes, recordErrors } from "./executed.mjs";
import {
  breakdown,
  captured,
  closeWorkers,
  dist,
  exposure,
  gpus,
  machine,
  models,
  option,
  precision,
  record,
  root,
  settled,
  tiny,
  train,
} from "./product.mjs";
import { profiles } from "./profiles.mjs";

const { uniformPlan } = dist("plan/uniform.js");
const { describePlan } = dist("plan/describe-plan.js");
const { searchPlan } = dist("session/find-plan.js");
const family = process.argv[2];
const whole = models[family];
const halved = family === "llama" && gpus < 4 && machine.cluster.memoryBytesPerRank < 100e9;
const layers = Number(option("layers", String(halved && !tiny ? 16 : whole.layers.length)));
const model = { ...whole, layers: whole.layers.slice(0, layers) };
const perGpu = tiny ? 2 : family === "gpt" ? 8 : 4;
const globalBatch = perGpu * gpus;
const name = `${{ gpt: "gpt-1.4b", llama: "llama-6.7b" }[family]}${layers < whole.layers.length ? `-${layers}layers` : ""}`;
const steps = Number(option("steps", "16"));
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
      "--layers",
      String(layers),
      "--steps",
      String(steps),
      "--breakdown",
    ],
    { cwd: folder, encoding: "utf8", timeout: 160_000 },
  );
  const line = run.stdout?.split("\n").find((text) => text.startsWith("{"));
  if (!line) console.log("peer failed:", run.status, run.stderr?.slice(-1500));
  else console.log(line);
  return line ? JSON.parse(line) : null;
}

/** The plan found, and its prediction frozen before it runs. */
async function searched() {
  const known = await profiles(family);
  const found = searchPlan({
    model,
    modelProfile: { ...known.modelProfile, model },
    machine: { machine, hardware: known.hardware },
    budgetBytes: machine.cluster.memoryBytesPerRank * 0.95,
    options: { globalBatch },
  });
  const { frozen, hash } = freeze(model, [found.report.plan], known);
  const { searchMs, gap } = found.report;
  console.log(
    `searched in ${searchMs.toFixed(0)} ms, gap ${gap.toFixed(4)}; frozen: ${hash} (hardware ${known.hardwareHash}, model ${known.modelHash})`,
  );
  return { ...found, ...frozen[0], hash };
}

for (const kind of option("plans", "searched,zero2,ddp").split(",")) {
  try {
    const found = kind === "searched" ? await searched() : null;
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
      exposure: got.programs.map((program, rank) =>
        exposure(program, got.last[rank].instructionsMs, got.last[rank].stepMs),
      ),
      instructionsMs: instructionTimes(got.last),
    };
    rows.push(row);
    if (found) {
      // It counts among the executed plans.
      const rest = got.stepMs.slice(3);
      recordErrors(
        `whole-${family}-${gpus}gpu`,
        [
          {
            ...found.prediction,
            measuredMs: rest.reduce((sum, ms) => sum + ms, 0) / rest.length,
            measuredBytes: Math.max(...row.memoryBytes),
          },
        ],
        found.hash,
      );
    }
    console.log(
      `${name} ${kind} [${row.plan.join(" / ")}]: step ${stepMs.toFixed(1)} ms (device ${row.deviceMs.toFixed(1)}), ${Math.round(row.tokensPerSecond)} tokens/s, ${(got.memoryBytes[0] / 2 ** 30).toFixed(1)} GB, load ${(got.loadMs / 1e3).toFixed(0)} s, predicted ${row.predictedMs?.toFixed(1) ?? "-"}; losses ${got.losses.map((x) => x.toFixed(3)).join(" ")}`,
    );
    console.log(" ", JSON.stringify(row.exposure));
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
    layers,
    predictedMs: ours.predictedMs ?? null,
  });
process.exit(ours ? 0 : 1);
