// How long a search takes, and how that grows with layers, GPUs and budget.
//   npm run build && node test/bench/search.bench.mjs [--write]
// Times are CPU time of one core in this process, tables and fits included. --write records the result in
// docs/benchmarks/search.md, from "## Agreement" on left as it is, and draws docs/pictures/search-growth.svg.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const require = createRequire(join(root, "dist/src/index.js"));
const { presetHardware } = require("./cluster/presets.js");
const { analyticProfile } = require("./model/analytic-profile.js");
const { modelSpec } = require("./families/registry.js");
const { strategyText } = require("./plan/strategy-text.js");
const { search } = require("./search/search.js");
const { axis, baseLayout } = require("./display/figure.js");
const { figureToSvg, stackSvgs } = require("./display/svg.js");

const { values } = parseArgs({ options: { write: { type: "boolean", default: false } } });
const GB = 2 ** 30;
const llama7 = ["llama", { layers: 32, hidden: 4096, heads: 32, sequence: 2048 }];
const gpt = (layers, hidden, heads) => ["gpt", { layers, hidden, heads, sequence: 2048 }];
const sweep = { from: 8, to: 128, step: 8 };

function measure(model, machine, nodes, budgetGB, globalBatch) {
  const spec = modelSpec(...model);
  const hardware = presetHardware(machine, nodes);
  const before = process.cpuUsage();
  const modelProfile = analyticProfile(spec, hardware);
  let report = null;
  try {
    report = search({ model: spec, modelProfile, hardware, budgetBytes: budgetGB * GB, globalBatch });
  } catch (error) {
    if (error.code !== "NO_FEASIBLE_PLAN") throw error;
  }
  const used = process.cpuUsage(before);
  return { cpuMs: (used.user + used.system) / 1000, report };
}

function row(name, result) {
  const { cpuMs, report } = result;
  const memoryMB = Math.round(process.memoryUsage().rss / 2 ** 20);
  if (!report) return `| ${name} | ${cpuMs.toFixed(0)} | – | – | nothing fits | ${memoryMB} |`;
  const { plan, gap, candidates } = report;
  const counts = new Map();
  for (const one of plan.layers) counts.set(strategyText(one), (counts.get(strategyText(one)) ?? 0) + 1);
  const layers = [...counts].map(([text, count]) => `${count} × ${text}`).join(", ");
  const shape = `batch ${plan.globalBatch}, ${plan.microBatches} micro-batches, ${plan.stageLayers.length} stages ${plan.schedule}: ${layers}`;
  return `| ${name} | ${cpuMs.toFixed(0)} | ${candidates.length} | ${(gap * 100).toFixed(2)} % | ${shape} | ${memoryMB} |`;
}

const lines = [
  "# How fast the search is",
  "",
  `CPU time of one core (${cpus()[0]?.model ?? "unknown"}), made by \`test/bench/search.bench.mjs\`: analytic profile, price tables and search. Machines are presets (estimates).`,
  "",
  "| case | CPU ms | outer choices | gap | plan | process MB |",
  "|---|---|---|---|---|---|",
];
const say = (line) => {
  lines.push(line);
  console.log(line);
};
// Once before counting: the engine's own compilation.
measure(llama7, "dgx-a100-40gb", 1, 40, 64);
say(row("7B, 8 × A100 40 GB, batch 64", measure(llama7, "dgx-a100-40gb", 1, 40, 64)));
say(row("7B, 8 × H100, 16 batch sizes", measure(llama7, "hgx-h100", 1, 80, sweep)));
say(row("7B, 8 × A100 40 GB, 16 batch sizes", measure(llama7, "dgx-a100-40gb", 1, 40, sweep)));
say(row("1.3B, 8 × TITAN RTX, batch 64, 12 GB", measure(gpt(24, 2048, 16), "rtx-titan", 1, 12, 64)));
say(
  row("96 layers of 12,288, 1,024 × A100 80 GB", measure(gpt(96, 12288, 96), "dgx-a100-80gb", 128, 80, 1536)),
);
say(row("128 layers of 25,600, 4,096 × H100", measure(gpt(128, 25600, 160), "hgx-h100", 512, 80, 3072)));
lines.push(
  "",
  "## Growth",
  "",
  "![CPU time over layers, GPUs and budget](../pictures/search-growth.svg)",
  "",
  "| case | CPU ms | outer choices | gap | plan | process MB |",
  "|---|---|---|---|---|---|",
);
/** Says each of a row of cases, and draws their times; where nothing fits, the search only has to find that out. */
function grow(title, unit, points, nameOf, measured) {
  const results = points.map((x) => {
    const result = measured(x);
    say(row(nameOf(x), result));
    return { x, y: Number(result.cpuMs.toPrecision(3)), found: result.report !== null };
  });
  const marks = (name, own, symbol) => ({
    type: "scatter",
    mode: "markers",
    name,
    x: own.map(({ x }) => x),
    y: own.map(({ y }) => y),
    marker: { color: "#3b6fb6", size: 9, symbol },
  });
  const line = { color: "#9a9a9a", width: 1.5 };
  const y = results.map((one) => one.y);
  const layout = { ...baseLayout(title, 300), showlegend: true };
  return figureToSvg({
    data: [
      { type: "scatter", mode: "lines", name: "CPU time", showlegend: false, x: points, y, line },
      marks(
        "a plan found",
        results.filter(({ found }) => found),
        "circle",
      ),
      marks(
        "nothing fits",
        results.filter(({ found }) => !found),
        "x",
      ),
    ],
    layout: { ...layout, xaxis: axis(unit, {}), yaxis: axis("CPU ms", { rangemode: "tozero" }) },
  });
}
const pictures = [
  grow(
    "Layers of 4,096 on 8 × A100 40 GB",
    "layers",
    [8, 16, 32, 64, 128],
    (layers) => `${layers} layers of 4,096, 8 × A100 40 GB`,
    (layers) => measure(gpt(layers, 4096, 32), "dgx-a100-40gb", 1, 40, 64),
  ),
  grow(
    "96 layers of 12,288 on H100",
    "GPUs",
    [8, 32, 128, 512, 2048],
    (ranks) => `96 layers of 12,288, ${ranks} × H100`,
    (ranks) => measure(gpt(96, 12288, 96), "hgx-h100", ranks / 8, 80, 1024),
  ),
  grow(
    "7B on 8 × A100",
    "GB a rank",
    [10, 16, 20, 24, 32, 40],
    (budget) => `7B, 8 × A100, ${budget} GB`,
    (budget) => measure(llama7, "dgx-a100-40gb", 1, budget, 64),
  ),
];
if (values.write) {
  const page = join(root, "docs/benchmarks/search.md");
  const before = readFileSync(page, "utf8");
  const rest = before.slice(before.indexOf("## Agreement"));
  writeFileSync(page, `${lines.join("\n")}\n\n${rest}`);
  writeFileSync(join(root, "docs/pictures/search-growth.svg"), `${stackSvgs(pictures)}\n`);
}
