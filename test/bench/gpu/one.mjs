// One GPU: attention, GPT and LLaMA blocks, GPT-2 124M, each beside PyTorch.
//   node test/bench/gpu/one.mjs [--only gpt2,attention,blocks] [--graphs .gpu/graphs] [--json FILE]      needs graphs of test/gpu/dump-graphs.mjs
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { closeWorkers, dist, option, record, root, settled, state, train } from "./product.mjs";

const { modelSpec } = dist("families/registry.js");
const { uniformPlan } = dist("plan/uniform.js");
const graphs = option("graphs", path.join(root, ".gpu", "graphs"));
const one = { ...process.env, CUDA_VISIBLE_DEVICES: process.env.CUDA_VISIBLE_DEVICES?.split(",")[0] ?? "0" };
const python = (args, folder = root) => {
  const run = spawnSync("python3", args, { cwd: folder, encoding: "utf8", env: one, timeout: 240_000 });
  process.stdout.write(run.stdout ?? "");
  if (run.status !== 0) console.log(`failed (${run.status}):`, run.stderr?.slice(-800));
  return run.stdout ?? "";
};
const parsed = (file) => JSON.parse(readFileSync(file, "utf8"));
const everything = {};
const only = option("only")?.split(",");
const guarded = async (name, run) => {
  if (only && !only.includes(name)) return;
  try {
    everything[name] = await run();
  } catch (error) {
    console.log(`FAIL ${name}:`, String(error.message).slice(0, 500));
  }
};

await guarded("gpt2", async () => {
  const model = modelSpec("gpt2-small", { vocabulary: 50304 });
  const got = await train(
    model,
    uniformPlan(model, { ranks: 1, globalBatch: 32, precision: "bfloat16" }),
    16,
    { ranks: 1 },
  );
  await closeWorkers();
  const theirs = JSON.parse(
    python(["gpt2_step.py", "--batch", "32"], path.join(root, "test", "bench", "peers"))
      .trim()
      .split("\n")
      .at(-1),
  );
  const tokens = (32 * 1024 * 1e3) / settled(got.wallMs, 5);
  record("gpt2-124m-1gpu", {
    ours: tokens,
    peer: theirs.tokens_per_s,
    ratio: tokens / theirs.tokens_per_s,
    unit: "tokens/s",
  });
  return { stepMs: got.stepMs, wallMs: got.wallMs, memoryBytes: got.memoryBytes, peer: theirs };
});
await guarded("attention", () => {
  const file = path.join(state, "attention.json");
  python(["test/gpu/timings.py", "--parts", "attention", "--json", file]);
  const rows = parsed(file).filter((row) => row.best_peer);
  const worst = rows.reduce((a, b) => (b.best_peer / b.ours_ms < a.best_peer / a.ours_ms ? b : a));
  record("attention-1gpu", {
    ours: worst.ours_ms,
    peer: worst.best_peer,
    ratio: worst.best_peer / worst.ours_ms,
    unit: "ms",
    what: `${worst.name}, the worst of ${rows.length}, against SDPA's best backend`,
  });
  return rows;
});
await guarded("blocks", () => {
  const file = path.join(state, "blocks.json");
  python([
    "test/gpu/blocks.py",
    graphs,
    process.env.GALVATRON_ONNX_RUNTIME,
    "--json",
    file,
    "--cases",
    "gpt-2048,gpt-4096,llama-2048,llama-4096",
    "--no-eager",
    "--breakdown",
  ]);
  const rows = parsed(file).filter((row) => row.ratio);
  for (const family of ["gpt", "llama"]) {
    const own = rows.filter((row) => row.name.startsWith(family));
    if (own.length === 0) continue;
    const worst = own.reduce((a, b) => (b.ratio < a.ratio ? b : a));
    record(`${family}-block-1gpu`, {
      ours: worst.ours_ms,
      peer: worst.peer_compiled_ms,
      ratio: worst.ratio,
      unit: "ms",
      what: `${worst.name}, the worse of ${own.length}: forward and backward, against torch.compile, in turns`,
      cases: own.map((row) => ({ name: row.name, ratio: row.ratio })),
    });
  }
  return rows;
});
if (option("json")) writeFileSync(option("json"), JSON.stringify(everything, null, 1));
process.exit(Object.keys(everything).length > 0 ? 0 : 1);
