// Does searching pay? Under each memory budget a GPU: the searched plan beside the best uniform, data-parallel, ZeRO-3 and
// tensor-parallel plans, each the fastest of its space by prediction, all frozen first and then run by our workers.
//   node test/bench/gpu/budgets.mjs gpt|llama [--budgets 20,40,72] [--layers N] [--batch N] [--seconds 200] [--json FILE]
import { writeFileSync } from "node:fs";
import { execute, freeze, planText, recordErrors } from "./executed.mjs";
import { closeWorkers, dist, gpus, machine, models, option, record, tiny } from "./product.mjs";
import { profiles, seconds } from "./profiles.mjs";

const { baselineSpace } = dist("search/space.js");
const { searchPlan } = dist("session/find-plan.js");

const family = process.argv[2];
const whole = models[family];
const layers = Number(option("layers", String(whole.layers.length)));
const model = { ...whole, layers: whole.layers.slice(0, layers) };
const globalBatch = Number(option("batch", String((tiny ? 2 : family === "gpt" ? 8 : 4) * gpus)));
const unit = tiny ? 2 ** 20 : 2 ** 30;
const budgets = option("budgets", tiny ? "130,2000" : family === "gpt" ? "20,40,72" : "40,72")
  .split(",")
  .map(Number)
  .filter((budget) => budget * unit <= machine.cluster.memoryBytesPerRank);
const known = await profiles(family);
const spaces = {
  searched: {},
  uniform: { uniformLayers: true, evenStages: true },
  ddp: baselineSpace("dp", gpus),
  zero3: baselineSpace("zero3", gpus),
  tp: baselineSpace("tp", gpus),
};
const chosen = [];
for (const budget of budgets)
  for (const [space, options] of Object.entries(spaces)) {
    try {
      const found = searchPlan({
        model,
        modelProfile: { ...known.modelProfile, model },
        machine: { machine, hardware: known.hardware },
        budgetBytes: budget * unit,
        options: { globalBatch, space: options },
      });
      chosen.push({ budget, space, plan: found.report.plan, text: planText(found.report.plan) });
    } catch (error) {
      chosen.push({ budget, space, plan: null, text: String(error.message).slice(0, 200) });
    }
  }
console.log(`${chosen.length} searches after ${seconds().toFixed(0)} s`);
const distinct = new Map(chosen.filter(({ plan }) => plan).map(({ text, plan }) => [text, plan]));
const { frozen, hash } = freeze(model, [...distinct.values()], known);
console.log(`${frozen.length} predictions frozen: ${hash}`);
const rows = [];
for (const each of frozen)
  if (seconds() < Number(option("seconds", "240"))) rows.push(await execute(model, each));
await closeWorkers();

const name = `${{ gpt: "gpt-1.4b", llama: "llama-6.7b" }[family]}${layers < whole.layers.length ? `-${layers}layers` : ""}`;
const table = chosen.map(({ budget, space, text, plan }) => ({
  budget,
  space,
  text,
  fits: plan !== null,
  row: rows.find((row) => row.text === text && row.measuredMs),
}));
for (const budget of budgets) {
  const own = table.filter((entry) => entry.budget === budget);
  for (const { space, text, fits, row } of own)
    console.log(
      `${budget} GiB ${space}: ${fits ? `${row?.measuredMs.toFixed(1) ?? "not run"} ms, ${((row?.measuredBytes ?? 0) / 2 ** 30).toFixed(1)} GiB` : "does not fit"} [${text}]`,
    );
  const searched = own.find(({ space }) => space === "searched")?.row;
  if (!searched) continue;
  const others = own.filter(({ space, row }) => space !== "searched" && row);
  const best = others.reduce((a, b) => (a && a.row.measuredMs <= b.row.measuredMs ? a : b), null);
  record(`${name}-budget-${budget}-${gpus}gpu`, {
    ours: searched.measuredMs,
    peer: best?.row.measuredMs ?? null,
    ratio: best ? best.row.measuredMs / searched.measuredMs : null,
    unit: `ms a step within ${budget} GiB a GPU; peer: the best of uniform, DDP, ZeRO-3, TP`,
    plan: searched.text,
    memoryBytes: searched.measuredBytes,
    withinBudget: searched.measuredBytes <= budget * unit,
    others: Object.fromEntries(
      own
        .filter(({ space }) => space !== "searched")
        .map(({ space, fits, row }) => [space, fits ? (row?.measuredMs ?? "not run") : "does not fit"]),
    ),
    globalBatch,
    layers,
  });
}
if (option("json"))
  writeFileSync(
    option("json"),
    JSON.stringify({ model: model.name, layers, globalBatch, hash, table, rows }),
  );
recordErrors(`budgets-${family}-${gpus}gpu`, rows, hash);
process.exit(rows.length > 0 ? 0 : 1);
