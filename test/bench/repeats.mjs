// Repeats a short seeded training, in processes of its own each time, and compares every loss and gradient norm bit for
// bit: node test/bench/repeats.mjs [REPEATS] [STEPS] [PLAN…]. The quickstart's model, data, seed and rate. Run it beside
// other load: what it looks for are steps that read what is not yet, or no longer, what they should read.
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const require = createRequire(join(root, "dist/src/index.js"));
const { modelSpec } = require("./families/registry.js");
const { uniformPlan } = require("./plan/uniform.js");
const { compilePlan } = require("./runtime/compile-plan.js");
const { openHostPool } = require("./runtime/coordinator/host-pool.js");
const { startTraining } = require("./runtime/coordinator/train.js");
const { text } = require("./runtime/data/data-description.js");
const { findData } = require("./runtime/data/find-data.js");
const { optimizerFrom } = require("./runtime/optimizer.js");

const PLANS = {
  data: { microBatches: 1 },
  zero3: { microBatches: 2, dataParallel: "zero3" },
  sequence: { microBatches: 4, tensorDegree: 2, tensorSplit: "sequence", dataParallel: "zero1" },
  stages: { microBatches: 4, pipelineDegree: 2 },
};
const [repeats = "50", steps = "20", ...names] = process.argv.slice(2);
const model = modelSpec("gpt", { layers: 8, hidden: 128, heads: 4, sequence: 128 });
const data = text("node_modules/typescript/lib/*.d.ts");
const dataset = await findData(data, model, 1, { folder: root, projectFolder: root }).prepare();
const feed = { dataset, optimizer: optimizerFrom({ learningRate: 2e-3 }, 200), steps: Number(steps) };

for (const name of names.length > 0 ? names : Object.keys(PLANS)) {
  const plan = uniformPlan(model, { ranks: 2, globalBatch: 8, ...PLANS[name] });
  const lowered = compilePlan(model, plan);
  let first;
  let differing = 0;
  for (let repeat = 0; repeat < Number(repeats); repeat++) {
    const pool = await openHostPool(plan.ranks, 1);
    const job = { ...lowered, seed: 1, feed, firstStep: 0, tokensPerStep: 8 * model.sequence };
    const { records } = await startTraining(job, { pool }, () => {}).done;
    await pool.close();
    const figures = records.map(({ loss, gradientNorm }) => [loss, gradientNorm]);
    first ??= figures;
    for (const [index, row] of figures.entries())
      if (row[0] !== first[index][0] || row[1] !== first[index][1]) {
        differing++;
        console.log(
          `${name}: repeat ${repeat}, step ${records[index].step}: ${row} instead of ${first[index]}`,
        );
      }
  }
  console.log(
    `${name}: ${repeats} × ${steps} steps, ${differing} records differ; last loss ${first.at(-1)[0]}`,
  );
}
