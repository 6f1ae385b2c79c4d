// How long a person waits for the kernel: start, first result, later cells, completion, slider to picture; ours beside
// plain tslab and, where its program is at hand, Deno's kernel, interleaved in one run.
//   npm run build:ts && node test/bench/kernel.mjs [--rounds 5] [--write] [--deno PATH]
// Deno's program comes with the npm package @deno/linux-x64-glibc (npm install --prefix FOLDER @deno/linux-x64-glibc).
// --write records the result in docs/benchmarks/kernel.md.
import { randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism, cpus, loadavg, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const require = createRequire(join(root, "dist/src/index.js"));
const { EmbeddedKernel } = require("./notebook/embedded-kernel.js");
const { kernelArgv } = require("./notebook/embedded-server.js");
const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    write: { type: "boolean", default: false },
    deno: { type: "string" },
  },
});

const tslab = [
  process.execPath,
  join(root, "node_modules/tslab/bin/tslab"),
  "kernel",
  "--config-path={connection_file}",
];
const KERNELS = {
  Galvatron: { argv: kernelArgv(), slider: true },
  "plain tslab": { argv: tslab, transport: "tcp", slider: false },
  ...(values.deno && {
    Deno: {
      argv: [values.deno, "jupyter", "--kernel", "--conn", "{connection_file}"],
      transport: "tcp",
      slider: false,
    },
  }),
};
const SLIDER = `const eight = cluster("hgx-h100");
const gpt = model("gpt2-xl");
slider({ min: 1, max: 64, value: 1, unit: "GB" }, async (n) =>
  (await gpt.search(\`\${18 + 2 * n}GB\`, { on: eight, globalBatch: 32 })).cost())`;

/** Sends a request and resolves with what came for it once the kernel is idle and has answered. */
function ask(kernel, type, content) {
  const header = {
    msg_id: randomUUID(),
    session: "bench",
    username: "",
    date: new Date().toISOString(),
    msg_type: type,
    version: "5.3",
  };
  const heard = [];
  return new Promise((resolve) => {
    const forget = kernel.listen((message) => {
      if (message.parent_header.msg_id !== header.msg_id) return;
      heard.push(message);
      const idle = heard.some(({ content }) => content.execution_state === "idle");
      const replied = heard.some(({ channel }) => channel === "shell") || type.startsWith("comm");
      if (!idle || !replied) return;
      forget();
      resolve(heard);
    });
    kernel.send({ channel: "shell", header, parent_header: {}, metadata: {}, content, buffers: [] });
  });
}
const run = (kernel, code) =>
  ask(kernel, "execute_request", {
    code,
    silent: false,
    store_history: true,
    user_expressions: {},
    allow_stdin: false,
    stop_on_error: true,
  });

/** CPU time of a kernel's process so far, in ms (user and system, in ticks of 10 ms). */
function cpuMs({ processId }) {
  const [, ...rest] = readFileSync(`/proc/${processId}/stat`, "utf8").split(") ");
  const [user, system] = rest.join(") ").split(" ").slice(11, 13).map(Number);
  return 10 * (user + system);
}

async function timed(work) {
  const started = performance.now();
  const result = await work();
  return { ms: performance.now() - started, result };
}

async function measure({ slider, ...command }) {
  const folder = mkdtempSync(join(tmpdir(), "galvatron-bench-"));
  const started = performance.now();
  const kernel = await EmbeddedKernel.start({ ...command, folder });
  try {
    const ready = performance.now() - started;
    await run(kernel, "console.log(6 * 7)");
    const first = performance.now() - started;
    const firstCpu = cpuMs(kernel);
    const second = (await timed(() => run(kernel, "const xs = [1, 2, 3]; console.log(xs.length)"))).ms;
    const later = [];
    const before = cpuMs(kernel);
    for (let i = 0; i < 10; i++) later.push((await timed(() => run(kernel, `console.log(${i})`))).ms);
    const laterCpu = (cpuMs(kernel) - before) / 10;
    const complete = (await timed(() => ask(kernel, "complete_request", { code: "Math.fl", cursor_pos: 7 })))
      .ms;
    const numbers = {
      "start to kernel_info": ready,
      "start to first result": first,
      "second cell": second,
      "later cell (median of 10)": median(later),
      "completion Math.fl": complete,
      "CPU time to first result": firstCpu,
      "CPU time of a later cell": laterCpu,
    };
    return slider
      ? { ...numbers, "slider to picture (8 ranks, median of 10)": await moves(kernel) }
      : numbers;
  } finally {
    await kernel.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function moves(kernel) {
  const shown = [];
  const forget = kernel.listen(({ content }) => shown.push(JSON.stringify(content.data ?? {})));
  await run(kernel, SLIDER);
  while (!shown.some((text) => text.includes("data-galvatron-interact")))
    await new Promise((resolve) => setTimeout(resolve, 10));
  forget();
  const id = /data-galvatron-interact=\\"(\w+)/.exec(shown.join(""))[1];
  const comm_id = randomUUID();
  await ask(kernel, "comm_open", { comm_id, target_name: "galvatron.interact", data: { id } });
  const times = [];
  for (let value = 2; value < 12; value++) {
    const drawn = new Promise((resolve) => {
      const stop = kernel.listen(({ header, content }) => {
        if (header.msg_type !== "comm_msg" || content.comm_id !== comm_id) return;
        stop();
        resolve();
      });
    });
    times.push(
      (
        await timed(async () => {
          void ask(kernel, "comm_msg", { comm_id, data: { values: { value }, settled: false } });
          await drawn;
        })
      ).ms,
    );
  }
  return median(times);
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

const rounds = Object.fromEntries(Object.keys(KERNELS).map((name) => [name, []]));
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [name, kernel] of Object.entries(KERNELS)) {
    rounds[name].push(await measure(kernel));
    process.stderr.write(`round ${round + 1}: ${name}\n`);
  }
}
const names = Object.keys(rounds.Galvatron[0]);
const rows = names.map((name) => {
  const cell = (kernel) =>
    name in rounds[kernel][0] ? `${median(rounds[kernel].map((one) => one[name])).toFixed(0)} ms` : "-";
  return `| ${name} | ${Object.keys(KERNELS).map(cell).join(" | ")} |`;
});
const text = `# Kernel latency

Medians of ${values.rounds} rounds, kernels interleaved, on ${availableParallelism()} cores (${cpus()[0].model.trim()}), node ${process.version}; load average
${loadavg()[0].toFixed(1)} when the run ended. \`node test/bench/kernel.mjs --write\` writes this page. Galvatron's start includes loading the SDK and its types,
which plain tslab does not have. The slider searches the best plan of GPT-2 XL on eight GPUs for every budget; its time runs from the message of the page
to the figure's data and picture, the browser's drawing comes on top.

| | ${Object.keys(KERNELS).join(" | ")} |
|---|${Object.keys(KERNELS)
  .map(() => "---|")
  .join("")}
${rows.join("\n")}
`;
process.stdout.write(text);
if (values.write) writeFileSync(join(root, "docs/benchmarks/kernel.md"), text);
