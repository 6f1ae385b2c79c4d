// Collectives through our Programs beside NCCL through PyTorch, same sizes, one after the other.
//   node test/bench/gpu/collectives.mjs [--json FILE]
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { closeWorkers, dist, gpus, option, record, root, tiny, workers } from "./product.mjs";

const { measureCollectives } = dist("profiler/measure-collectives.js");
const names = ["allReduce", "allGather", "reduceScatter", "allToAll"];
const options = { warmup: 4, repeats: 12 };
const measured = gpus > 1 ? await measureCollectives(await workers(), options, () => undefined) : [];
const ours = measured.filter(({ collective, ranks }) => ranks === gpus && names.includes(collective));
await closeWorkers();
const sizes = [...new Set(ours.map((sample) => sample.sizeBytes))];
const run =
  tiny || gpus < 2
    ? null
    : spawnSync(
        "python3",
        [
          "-m",
          "torch.distributed.run",
          "--standalone",
          `--nproc-per-node=${gpus}`,
          path.join(root, "test", "bench", "peers", "collectives.py"),
          ...sizes.map(String),
        ],
        { encoding: "utf8", timeout: 90_000 },
      );
const line = run?.stdout.split("\n").find((text) => text.startsWith("{"));
if (run && !line) console.log("peer failed:", run.stderr.slice(-1000));
const theirs = line ? JSON.parse(line).times : null;
const rows = ours.map(({ collective, sizeBytes, timeMs }) => {
  const peerMs = theirs?.[collective]?.[String(sizeBytes)] ?? null;
  return { collective, sizeBytes, timeMs, peerMs, ratio: peerMs === null ? null : peerMs / timeMs };
});
for (const row of rows)
  console.log(
    `${row.collective} ${row.sizeBytes} B: ours ${row.timeMs.toFixed(4)} ms (${(row.sizeBytes / row.timeMs / 1e6).toFixed(0)} GB/s), peer ${row.peerMs?.toFixed(4)}, ratio ${row.ratio?.toFixed(3)}`,
  );
if (option("json")) writeFileSync(option("json"), JSON.stringify(rows, null, 1));
for (const collective of new Set(rows.map((row) => row.collective))) {
  const large = rows.filter((row) => row.collective === collective && row.sizeBytes >= 16 * 2 ** 20);
  const worst = (large.length > 0 ? large : rows).reduce((a, b) =>
    (b.ratio ?? Infinity) < (a.ratio ?? Infinity) ? b : a,
  );
  record(`${collective}-${gpus}gpu`, {
    ours: worst.timeMs,
    peer: worst.peerMs,
    ratio: worst.ratio,
    unit: `ms, ${worst.sizeBytes / 2 ** 20} MB (worst of 16 MB and more)`,
  });
}
process.exit(0);
