// How long training stands still for a checkpoint, and what saving costs the steps behind which it happens.
//   node test/bench/checkpoints.mjs [--ranks 2] [--steps 12] [--every 3] [--hidden 512] [--layers 8]
// Prints a table; figures are this machine's.
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

const require = createRequire(import.meta.url);
const ours = (path) => require(`../../dist/src/${path}.js`);
const { modelSpec } = ours("model/model-spec-from");
const { uniformPlan } = ours("plan/uniform");
const { compilePlan } = ours("runtime/compile-plan");
const { hostPoolOptions } = ours("runtime/coordinator/host-pool");
const { startTraining } = ours("runtime/coordinator/train");
const { syntheticDataset } = ours("runtime/data/find-data");
const { optimizerFrom } = ours("runtime/optimizer");
const { modelSha256 } = ours("runtime/checkpoint/manifest-json");
const { median } = ours("profiler/median");

const { values } = parseArgs({
  options: Object.fromEntries(
    ["ranks", "steps", "every", "hidden", "layers"].map((name) => [name, { type: "string" }]),
  ),
});
const [ranks, steps, every, hidden, layers] = [
  [values.ranks, 2],
  [values.steps, 12],
  [values.every, 3],
  [values.hidden, 512],
  [values.layers, 8],
].map(([given, own]) => Number(given ?? own));
const model = modelSpec("gpt", { layers, hidden, heads: 8, sequence: 128, vocabulary: 256 });
const base = mkdtempSync(join(tmpdir(), "galvatron-checkpoints-"));

async function train(plan, checkpoint) {
  const { programs, graphs } = compilePlan(model, plan);
  const optimizer = optimizerFrom({}, steps);
  const origin = {
    model: { name: model.name, sha256: modelSha256(model) },
    plan,
    seed: 0,
    steps,
    optimizer,
    data: { sha256: "0".repeat(64), samplesPerStep: plan.globalBatch },
  };
  const ends = [];
  const job = {
    programs,
    graphs,
    seed: 0,
    firstStep: 0,
    tokensPerStep: plan.globalBatch * model.sequence,
    feed: {
      dataset: syntheticDataset(model, 0),
      optimizer,
      steps,
    },
    ...(checkpoint && { checkpoints: { every, keep: 1, origin, ...checkpoint } }),
  };
  const report = await startTraining(job, { options: hostPoolOptions(ranks) }, () =>
    ends.push(performance.now()),
  ).done;
  const between = ends.slice(2).map((end, index) => end - ends[index + 1]);
  const peak = Math.max(...report.records.map((record) => record.peakMemoryBytes));
  return { report, stepMs: median(between), wholeMs: ends.at(-1) - ends[1], peakMB: peak / 2 ** 20 };
}

console.log(`${cpus().length} cores of ${cpus()[0].model}; ${new Date().toISOString().slice(0, 10)}`);
console.log(
  "plan | state MB | stall ms (median, longest) | save ms | step ms | steps with saves / without | peak MB a rank",
);
for (const dataParallel of ["ddp", "zero3"]) {
  const plan = uniformPlan(model, { ranks, globalBatch: 8, dataParallel });
  const without = await train(plan, null);
  for (const [name, copyBytes] of [
    ["copied whole", 2 ** 40],
    ["16 MB of copies", 2 ** 24],
  ]) {
    const folder = join(base, `${dataParallel}-${copyBytes}`);
    const { report, wholeMs, peakMB } = await train(plan, { folder, copyBytes });
    const saves = report.checkpoints;
    const stalls = saves.map((save) => save.stallMs);
    console.log(
      [
        `${dataParallel}, ${name}`,
        (saves[0].sizeBytes / 2 ** 20).toFixed(0),
        `${median(stalls).toFixed(0)}, ${Math.max(...stalls).toFixed(0)}`,
        median(saves.map((save) => save.saveMs)).toFixed(0),
        without.stepMs.toFixed(0),
        (wholeMs / without.wholeMs).toFixed(2),
        `${peakMB.toFixed(0)} (without ${without.peakMB.toFixed(0)})`,
      ].join(" | "),
    );
    rmSync(folder, { recursive: true });
  }
}
rmSync(base, { recursive: true });
