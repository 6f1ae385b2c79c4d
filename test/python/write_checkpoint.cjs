// Trains a small model for two steps and saves it into the folder given, under a mixed plan, a pipeline and one rank,
// with one rank's weights as plain numbers beside it.
const { writeFileSync } = require("node:fs");
const { join } = require("node:path");
const { modelSpec } = require("../../dist/src/families/registry.js");
const { uniformPlan } = require("../../dist/src/plan/uniform.js");
const { readManifest } = require("../../dist/src/runtime/checkpoint/checkpoint-folder.js");
const { compilePlan } = require("../../dist/src/runtime/compile-plan.js");
const { openHostPool } = require("../../dist/src/runtime/coordinator/host-pool.js");
const { startTraining } = require("../../dist/src/runtime/coordinator/train.js");
const { syntheticDataset } = require("../../dist/src/runtime/data/find-data.js");
const { optimizerFrom } = require("../../dist/src/runtime/optimizer.js");

const folder = process.argv[2];
const model = modelSpec("gpt", { layers: 2, hidden: 16, heads: 2, sequence: 8, vocabulary: 61, tied: true });
const plans = {
  mixed: { ranks: 4, tensorDegree: 2, dataParallel: "zero3", precision: "bfloat16" },
  pipeline: { ranks: 2, pipelineDegree: 2 },
  one: { ranks: 1 },
};

async function main() {
  const pool = await openHostPool(4, 1);
  const optimizer = optimizerFrom({}, 3);
  let from;
  for (const [name, choice] of Object.entries(plans)) {
    const plan = uniformPlan(model, { globalBatch: 4, ...choice });
    const { programs, graphs } = compilePlan(model, plan);
    const data = { sha256: "0".repeat(64), samplesPerStep: 4 };
    const origin = {
      model: { name: "gpt", sha256: "0".repeat(64) },
      plan,
      seed: 1,
      steps: 3,
      optimizer,
      data,
    };
    const training = startTraining(
      {
        programs,
        graphs,
        seed: 1,
        firstStep: from ? 2 : 0,
        tokensPerStep: 32,
        feed: {
          dataset: syntheticDataset(model, 1),
          optimizer,
          // The first trains two steps; the others go on from there with a third.
          steps: from ? 3 : 2,
        },
        ...(from && { restore: { path: from, files: readManifest(from).files } }),
        checkpoints: { folder: join(folder, name), every: null, keep: null, copyBytes: 2 ** 30, origin },
      },
      { pool },
      () => {},
    );
    const { checkpoints } = await training.done;
    from ??= checkpoints[0].path;
    if (name === "one") {
      const { parameters, flats } = programs[0];
      const bytes = await pool.read(
        0,
        flats.map((flat) => flat.parameter),
      );
      const weights = parameters.map(({ name: parameter, flat, flatOffset, extent }) => {
        const values = new Float32Array(Uint8Array.from(bytes[flat]).buffer, 4 * flatOffset);
        return [
          parameter,
          [
            ...values.subarray(
              0,
              extent.reduce((product, size) => product * size, 1),
            ),
          ],
        ];
      });
      writeFileSync(join(folder, "weights.json"), JSON.stringify(Object.fromEntries(weights)));
    }
  }
  await pool.close();
}
main().catch((error) => {
  console.error(error);
  process.exit(1);
});
