// A rank that hangs in the middle of a ZeRO-3 step, while others wait for its gradients: the run must end with WORKER_LOST
// soon after the deadline, on every way that ranks wait for each other.
//   node test/gpu/stalled-rank.mjs [--device cuda|host]
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..", "..");
const require = createRequire(import.meta.url);
const dist = (name) => require(path.join(root, "dist", "src", name));
const { modelSpec } = dist("families/registry.js");
const { loadAddon } = dist("device/load-addon.js");
const { onnxRuntimePath } = dist("device/onnx-runtime-path.js");
const { compilePlan } = dist("runtime/compile-plan.js");
const { uniformPlan } = dist("plan/uniform.js");
const { openWorkerPool } = dist("runtime/coordinator/worker-pool.js");
const { syntheticDataset } = dist("runtime/data/find-data.js");
const { optimizerFrom } = dist("runtime/optimizer.js");

const at = process.argv.indexOf("--device");
const device = at < 0 ? "cuda" : process.argv[at + 1];
const DEADLINE_MS = 4000;
/** Beyond the deadline: ranks let go, say so and are ended. */
const SOON_MS = 12_000;
const RANKS = 2;
const model = modelSpec("gpt", { layers: 4, hidden: 512, heads: 8, sequence: 256, vocabulary: 512 });
const plan = uniformPlan(model, {
  ranks: RANKS,
  globalBatch: 8,
  dataParallel: "zero3",
  precision: "bfloat16",
});
const pool = await openWorkerPool({
  addon: loadAddon(),
  onnxRuntimePath: process.env.GALVATRON_ONNX_RUNTIME ?? onnxRuntimePath(),
  ranks: RANKS,
  device,
  threads: 1,
  deadlineMs: DEADLINE_MS,
  sharedBytesPerRank: 8 * 2 ** 20,
});
const feed = { dataset: syntheticDataset(model, 7), optimizer: optimizerFrom({}, 100_000), steps: 100_000 };
await pool.load({ ...compilePlan(model, plan, { device }), seed: 1, feed, firstStep: 0 });
await pool.run(4);
setTimeout(() => process.kill(pool.pids[1], "SIGSTOP"), 400);
const from = performance.now();
let told = "nothing in time";
try {
  await Promise.race([
    pool.run(100_000 - 4),
    new Promise((resolve) => setTimeout(resolve, 400 + DEADLINE_MS + SOON_MS)),
  ]);
} catch (error) {
  told = `${error.code}: ${error.message}`;
}
const tookMs = Math.round(performance.now() - from - 400);
const ok = told.startsWith("WORKER_LOST");
console.log(`${ok ? "ok  " : "FAIL"} a rank that hangs: ${tookMs} ms after it stopped, ${told}`);
await pool.close().catch(() => {});
process.exit(ok ? 0 : 1);
