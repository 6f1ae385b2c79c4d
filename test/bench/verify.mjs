// Random plans of every family beside one rank, through `galvatron verify`, in runs that can be broken off.
//   npm run build && node test/bench/verify.mjs FOLDER [--plans 200] [--precision float32|bfloat16|bfloat16-gradients] [--families gpt,t5] [--write]
// Each run of 20 plans is a file in FOLDER; those that are there are not made again. --write makes
// docs/benchmarks/verify.md of all files in FOLDER.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const cli = process.env.GALVATRON_CLI ?? join(root, "dist/src/cli/main.js");
const FAMILIES = ["gpt", "llama", "bert", "t5", "vit", "swin", "neox"];
const PLANS_A_RUN = 20;
/** Most on eight ranks, where most dimensions meet. */
const RANKS = [8, 8, 4, 8, 8, 2, 8, 4, 8, 8];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    plans: { type: "string", default: "200" },
    precision: { type: "string", default: "float32" },
    dropout: { type: "string" },
    families: { type: "string", default: FAMILIES.join(",") },
    write: { type: "boolean", default: false },
  },
});
const folder = positionals[0];
if (!folder) throw new Error("Name a folder for the runs' results.");
mkdirSync(folder, { recursive: true });

if (values.write) write();
else runAll();

function runAll() {
  const runs = Math.ceil(Number(values.plans) / PLANS_A_RUN);
  for (let run = 0; run < runs; run++)
    for (const family of values.families.split(",")) {
      const what = values.dropout ? `dropout-${values.dropout}` : values.precision;
      const file = join(folder, `${what}-${family}-${String(run + 1).padStart(3, "0")}.json`);
      if (existsSync(file)) continue;
      const args = ["verify", "--model", family, "--plans", PLANS_A_RUN, "--seed", run + 1];
      args.push("--ranks", RANKS[run % RANKS.length], "--precision", values.precision, "--json", "--quiet");
      if (values.dropout) args.push("--dropout", values.dropout);
      const done = spawnSync(process.execPath, [cli, ...args.map(String)], { encoding: "utf8" });
      const last = done.stdout.trim().split("\n").at(-1);
      if (!last) {
        console.error(`${args.join(" ")}: ${done.stderr.trim()}\nTo be run again.`);
        continue;
      }
      const result = { ...JSON.parse(last), precision: values.precision, status: done.status };
      writeFileSync(`${file}.part`, `${JSON.stringify(result)}\n`);
      renameSync(`${file}.part`, file);
      console.log(`${what} ${family} seed ${run + 1}: ${result.maxRelativeDifference.toExponential(2)}`);
    }
}

function write() {
  const results = readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .map((name) => ({ name, ...JSON.parse(readFileSync(join(folder, name), "utf8")) }));
  const kinds = [...new Set(results.map(kindOf))];
  const tables = kinds
    .sort()
    .reverse()
    .map((kind) => table(kind, results));
  const float32 = results.filter(({ name }) => name.startsWith("float32"));
  const path = join(root, "docs/benchmarks/verify.md");
  const text = readFileSync(path, "utf8");
  const head = text.slice(0, text.indexOf("## Results"));
  writeFileSync(
    path,
    `${head}## Results\n\n${cpus()[0].model.trim()}, ${new Date().toISOString().slice(0, 10)}.\n\n${tables.join("\n")}\n${coverage(float32)}`,
  );
}

/** Of a file `KIND-FAMILY-RUN.json`; a kind may have hyphens. */
function kindOf({ name }) {
  return name.slice(0, name.lastIndexOf("-", name.lastIndexOf("-") - 1));
}

function table(kind, results) {
  const rows = FAMILIES.flatMap((family) => {
    const own = results.filter((result) => kindOf(result) === kind && result.model === family);
    if (own.length === 0) return [];
    const worst = own.reduce((a, b) => (b.maxRelativeDifference > a.maxRelativeDifference ? b : a));
    const most = (part) => Math.max(...own.map((one) => one.worst[part])).toExponential(1);
    const plans = own.reduce((sum, one) => sum + one.plans, 0);
    const moved = Math.min(...own.map((one) => one.referenceMoved)).toExponential(1);
    return [
      `| ${family} | ${plans} | ${worst.maxRelativeDifference.toExponential(2)} | ${most("loss")} | ${most("gradient")} | ${most("weights")} | ${moved} | \`--seed ${worst.seed} --ranks ${worst.ranks}\`, ${worst.worst.tensor} |`,
    ];
  });
  return `### ${kind}\n\n| family | plans | largest difference | of the worst plans: losses | gradients | weights | reference moved, least | worst under |\n|---|---|---|---|---|---|---|---|\n${rows.join("\n")}\n`;
}

function coverage(results) {
  const sum = (part) => {
    const counts = new Map();
    for (const { drawn } of results)
      for (const [name, count] of Object.entries(drawn[part]))
        counts.set(name, (counts.get(name) ?? 0) + count);
    return counts;
  };
  const dimensions = sum("dimensions");
  const pairs = sum("pairs");
  const names = [...dimensions.keys()].sort();
  const numbered = names.map((name, i) => `${i + 1} ${name}`);
  const header = `| | ${names.map((_, i) => i + 1).join(" | ")} |\n|---|${names.map(() => "---|").join("")}`;
  const rows = names.map(
    (a, i) =>
      `| ${numbered[i]} | ${names
        .map((b, j) => (i === j ? `**${dimensions.get(a)}**` : (pairs.get([a, b].sort().join(" × ")) ?? 0)))
        .join(" | ")} |`,
  );
  return `### How often dimensions, and pairs of them, were drawn (float32, all families)\n\n${header}\n${rows.join("\n")}\n`;
}
