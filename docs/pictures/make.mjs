// The pictures of docs/parallelism.md, drawn from Programs by the product's own figures.
//   npm run build && node docs/pictures/make.mjs           writes docs/pictures/*.svg
//   node docs/pictures/make.mjs --check                    says which of them would come out otherwise
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(join(here, "../../dist/src/index.js"));
const { presetHardware } = require("./cluster/presets.js");
const { costModel } = require("./cost/cost-model.js");
const { holdersFigure } = require("./display/holders-figure.js");
const { figureToSvg } = require("./display/svg.js");
const { timelineFigure } = require("./display/timeline-figure.js");
const { analyticProfile } = require("./model/analytic-profile.js");
const { modelSpec } = require("./families/registry.js");
const { uniformPlan } = require("./plan/uniform.js");
const { programDurations } = require("./program/program-durations.js");
const { simulate } = require("./program/simulate.js");
const { compilePlan } = require("./runtime/compile-plan.js");

const WIDTH = 900;
const RANKS = 4;
const hardware = presetHardware("hgx-h100", 1);
const model = modelSpec("gpt", { layers: 4, hidden: 2048, heads: 16, sequence: 1024, vocabulary: 8192 });
const durations = programDurations(costModel(model, analyticProfile(model, hardware), hardware));

const plan = (options) => uniformPlan(model, { ranks: RANKS, globalBatch: 16, microBatches: 2, ...options });
const pipeline = { pipelineDegree: 4, microBatches: 8 };
const mixed = plan({ dataParallel: "zero2" });
const tensor = plan({ tensorDegree: 4 }).layers[0];

/** Name of the picture, what its timeline is called, the plan, and the layers whose holders are shown. */
const PICTURES = [
  ["data-parallel", "Data parallel", plan({ dataParallel: "ddp" }), [0]],
  ["zero1", "ZeRO-1", plan({ dataParallel: "zero1" }), [0]],
  ["zero2", "ZeRO-2", plan({ dataParallel: "zero2" }), [0]],
  ["zero3", "ZeRO-3", plan({ dataParallel: "zero3" }), [0]],
  ["tensor", "Tensor parallel, weights split", plan({ tensorDegree: 4 }), [0]],
  [
    "sequence",
    "Sequence split (Ulysses)",
    plan({ tensorDegree: 4, tensorSplit: "sequence", dataParallel: "zero2" }),
    [0],
  ],
  ["recompute", "Recompute", plan({ dataParallel: "ddp", recompute: true }), []],
  ["gpipe", "Pipeline, GPipe", plan({ ...pipeline, schedule: "gpipe" }), []],
  ["1f1b", "Pipeline, 1F1B", plan({ ...pipeline, schedule: "1f1b" }), [0, 3]],
  [
    "mixed",
    "Layers 1 and 2 tensor parallel",
    { ...mixed, layers: [mixed.layers[0], tensor, tensor, mixed.layers[3]] },
    [0, 1],
  ],
];

const check = process.argv.includes("--check");
const stale = [];
for (const [name, title, thePlan, layers] of PICTURES) {
  const { programs } = compilePlan(model, thePlan);
  write(`${name}-time`, timelineFigure([simulate(programs, durations, { overlap: hardware })], title));
  for (const layer of layers)
    write(`${name}-holders${layers.length > 1 ? layer : ""}`, holdersFigure(programs, layer));
}
if (stale.length > 0) {
  console.error(`Not as the product draws them now: ${stale.join(", ")}. Run node docs/pictures/make.mjs.`);
  process.exitCode = 1;
}

function write(name, figure) {
  const path = join(here, `${name}.svg`);
  const svg = `${figureToSvg(figure, WIDTH)}\n`;
  if (!check) writeFileSync(path, svg);
  else if (readFileSync(path, "utf8") !== svg) stale.push(name);
}
