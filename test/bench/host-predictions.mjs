// How good are predictions on this host? Machine and model are profiled anew, then seven plans of a small GPT and the plan that
// the search finds for the quickstart's model train: predicted and measured ms a step.
//   npm run build && node test/bench/host-predictions.mjs [--rounds 3]
// Keeps its profiles in a folder of its own. Nothing else should run meanwhile.
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const { cluster, model, text, uniformPlan } = createRequire(import.meta.url)(join(root, "dist/src/index.js"));
const { values } = parseArgs({ options: { rounds: { type: "string", default: "3" } } });
const SHAPE = { hidden: 128, heads: 4, sequence: 128 };
const PLANS = {
  "data parallel": {},
  "ZeRO-2": { dataParallel: "zero2" },
  "ZeRO-3": { dataParallel: "zero3" },
  tensor: { tensorDegree: 2 },
  sequence: { tensorDegree: 2, tensorSplit: "sequence" },
  "pipeline, 4 micro-batches": { pipelineDegree: 2, microBatches: 4 },
  recompute: { recompute: true },
};
const data = text(join(root, "node_modules/typescript/lib/*.d.ts"));

async function compare(name, plan, steps) {
  const { predictedStepMs, stepMs } = await plan.train({ data, steps, learningRate: 1e-3, seed: 1 }).done;
  const percent = (100 * (predictedStepMs / stepMs - 1)).toFixed(0);
  console.log(
    `${name}: predicted ${predictedStepMs.toFixed(1)}, measured ${stepMs.toFixed(1)} ms (${percent} %)`,
  );
}

for (let round = 0; round < Number(values.rounds); round++) {
  const folder = mkdtempSync(join(tmpdir(), "galvatron-host-"));
  process.chdir(folder);
  const on = cluster({ device: "host", ranks: 2 });
  await on.profile();
  const small = model("gpt", { layers: 4, ...SHAPE });
  for (const [name, options] of Object.entries(PLANS)) {
    const plan = uniformPlan(small.spec, {
      ranks: 2,
      globalBatch: 8,
      gradientOrder: "canonical",
      ...options,
    });
    await compare(name, await small.plan(plan, { on }), 16);
  }
  await compare("quickstart", await model("gpt", { layers: 8, ...SHAPE }).search("2GB", { on }), 40);
  process.chdir(root);
  rmSync(folder, { recursive: true });
}
process.exit(0);
