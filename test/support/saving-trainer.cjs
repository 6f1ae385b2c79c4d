// A training that saves after every step, in a process of its own: it tells its workers, trains, and waits to be killed.
// argv: folder of checkpoints, then plan, model and optimizer as JSON. Goes on from the newest checkpoint there is.
const { openHostPool } = require("../../dist/src/runtime/coordinator/host-pool.js");
const { startTraining } = require("../../dist/src/runtime/coordinator/train.js");
const { compilePlan } = require("../../dist/src/runtime/compile-plan.js");
const { syntheticDataset } = require("../../dist/src/runtime/data/find-data.js");
const { listCheckpoints, readManifest } = require("../../dist/src/runtime/checkpoint/checkpoint-folder.js");

const [folder, { model, plan, origin }] = [process.argv[2], JSON.parse(process.argv[3])];

async function main() {
  const pool = await openHostPool(plan.ranks, 1);
  const { programs, graphs } = compilePlan(model, plan);
  const newest = listCheckpoints(folder).at(-1);
  const { seed, steps, optimizer } = origin;
  startTraining(
    {
      programs,
      graphs,
      seed,
      firstStep: newest?.step ?? 0,
      tokensPerStep: plan.globalBatch * model.sequence,
      feed: {
        dataset: syntheticDataset(model, seed),
        optimizer,
        steps,
      },
      ...(newest && { restore: { path: newest.path, files: readManifest(newest.path).files } }),
      checkpoints: { folder, every: 1, keep: 2, copyBytes: 2 ** 30, origin },
    },
    { pool },
    ([{ step }]) => process.send({ pids: pool.pids, step }),
  ).done.then(
    () => process.exit(0),
    () => process.exit(1),
  );
}
process.on("disconnect", () => process.exit(1));
void main();
