// Random searches on every preset at one node: all families, 2 to 8 GPUs, budgets from just above the smallest to loose,
// fixed batches and ranges of 16. Prints CPU time and gap of each; seeds name cases for good.
//   npm run build && node test/bench/search-sweep.mjs [--first 110] [--count 150] [--rest]
// --rest: layers of pipelines are as much faster as they were seen to be on H100 (docs/benchmarks/gpu.md).
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const require = createRequire(join(root, "dist/src/index.js"));
const { MACHINE_PRESETS, presetHardware } = require("./cluster/presets.js");
const { analyticProfile } = require("./model/analytic-profile.js");
const { modelSpec } = require("./families/registry.js");
const { search } = require("./search/search.js");

const { values } = parseArgs({
  options: {
    first: { type: "string", default: "110" },
    count: { type: "string", default: "150" },
    rest: { type: "boolean", default: false },
  },
});
const REST = [
  { workShare: 0.5, timeFactor: 0.9 },
  { workShare: 0.8, timeFactor: 0.97 },
  { workShare: 0.92, timeFactor: 0.99 },
];
const MODELS = (
  "gpt2-small gpt2-medium gpt2-xl gpt-1.5b gpt-2.7b gpt-6.7b llama-7b llama-13b llama2-7b qwen2.5-1.5b qwen2.5-3b " +
  "bert-base bert-large bert-huge-32 bert-huge-48 t5-small t5-base t5-large t5-3b swin-tiny swin-large swin-huge " +
  "vit-base vit-large vit-huge vit-xhuge"
)
  .split(" ")
  .map((name) => [name, {}])
  .concat([
    ["gpt", { layers: 24, hidden: 2048, heads: 16, sequence: 2048 }],
    ["gpt", { layers: 64, hidden: 4096, heads: 32, sequence: 2048 }],
    ["gpt", { layers: 12, hidden: 4096, heads: 32, sequence: 4096 }],
    ["llama", { layers: 48, hidden: 2048, heads: 16, sequence: 4096 }],
  ]);

/** mulberry32 */
function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function run(inputs) {
  const before = process.cpuUsage();
  let report = null;
  let least = 0;
  try {
    report = search(inputs);
  } catch (error) {
    if (error.code !== "NO_FEASIBLE_PLAN") throw error;
    least = error.context.smallestBudgetBytes;
  }
  const { user, system } = process.cpuUsage(before);
  return { report, least, cpuMs: (user + system) / 1000 };
}

let open = 0;
let slow = 0;
for (let seed = Number(values.first); seed < Number(values.first) + Number(values.count); seed++) {
  const random = randomNumbers(seed);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const machine = pick(MACHINE_PRESETS);
  const [name, options] = pick(MODELS);
  const ranks = pick([2, 3, 4, 5, 6, 7, 8, 8, 8, 8]);
  const globalBatch =
    random() < 0.6 ? ranks * pick([1, 2, 4, 8, 12, 16]) : { from: ranks, to: ranks * 16, step: ranks };
  const model = modelSpec(name, options);
  const hardware = presetHardware(machine.name, 1, ranks);
  const modelProfile = { ...analyticProfile(model, hardware), ...(values.rest && { rest: REST }) };
  const inputs = { model, modelProfile, hardware, globalBatch };
  const leastGB = run({ ...inputs, budgetBytes: 1e6 }).least / 2 ** 30;
  const u = random();
  let gb = leastGB * (1.005 + (u < 0.4 ? u * 0.5 : u < 0.8 ? (u - 0.4) * 3 + 0.2 : (u - 0.8) * 20 + 1.4));
  if (gb > machine.memoryGB && leastGB < machine.memoryGB)
    gb = leastGB + (machine.memoryGB - leastGB) * random();
  const { report, cpuMs } = run({ ...inputs, budgetBytes: gb * 2 ** 30 });
  if (report && report.gap > 0) open++;
  if (cpuMs > 1000) slow++;
  console.log(
    `${seed} ${name} ${model.layers.length} layers, ${ranks} × ${machine.name}, ${gb.toFixed(2)} GB, batch ${JSON.stringify(globalBatch)}: ${cpuMs.toFixed(0)} ms, ${report ? `gap ${(100 * report.gap).toFixed(2)} %` : "nothing fits"}`,
  );
}
console.log(`${values.count} cases: ${open} with a gap above 0, ${slow} above 1 s of CPU time`);
