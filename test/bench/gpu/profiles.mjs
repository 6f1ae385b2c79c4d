// Profiles of this machine and of a model: measured once, kept in PROFILES (default STATE) by the number of GPUs
// (hardware-4.arrow, gpt-4.arrow, llama-4.arrow). Runs beside each other on equally many GPUs need one each.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { closeWorkers, dist, gpus, machine, models, precision, state, tiny, workers } from "./product.mjs";

const { profileHardware } = dist("profiler/profile-hardware.js");
const { profileModel } = dist("profiler/profile-model.js");
const { matmulGraph } = dist("profiler/matmul-graph.js");
const { readHardwareTable, writeHardwareTable } = dist("profiler/hardware-table.js");
const { readModelTable, writeModelTable } = dist("profiler/model-table.js");

const begin = performance.now();
export const seconds = () => (performance.now() - begin) / 1e3;
const hashOf = (bytes) => createHash("sha256").update(bytes).digest("hex").slice(0, 16);

const folder = process.env.PROFILES ?? state;
mkdirSync(folder, { recursive: true });

async function kept(file, read, make) {
  const at = path.join(folder, file);
  if (!existsSync(at)) {
    const from = seconds();
    // Workers of its own: what others have loaded would count as memory that it takes.
    await closeWorkers();
    writeFileSync(at, await make());
    await closeWorkers();
    console.log(`${file} measured in ${(seconds() - from).toFixed(1)} s`);
  }
  const bytes = readFileSync(at);
  return { profile: read(bytes), hash: hashOf(bytes) };
}

/** Samples of a micro-batch on one rank that are measured. */
const SAMPLES = tiny ? { gpt: [1, 2], llama: [1, 2] } : { gpt: [2, 4, 8], llama: [2, 4] };

/** Measured or read again: the machine, and the model (whatever its number of layers). */
export async function profiles(family) {
  const hardware = await kept(`hardware-${gpus}.arrow`, readHardwareTable, async () =>
    writeHardwareTable(
      await profileHardware(await workers(), machine.cluster, matmulGraph, () => {}, {
        warmup: 3,
        repeats: 5,
      }),
    ),
  );
  const model = await kept(`${family}-${gpus}.arrow`, readModelTable, async () =>
    writeModelTable(
      await profileModel(await workers(), models[family], machine.cluster.deviceName, () => {}, {
        precision,
        memoryBytesPerRank: machine.cluster.memoryBytesPerRank,
        samples: SAMPLES[family],
        warmup: 3,
        repeats: 3,
      }),
    ),
  );
  return {
    hardware: hardware.profile,
    hardwareHash: hardware.hash,
    modelProfile: model.profile,
    modelHash: model.hash,
  };
}

/** The profile as lines for a log. */
export function describeProfiles({ hardware, modelProfile }) {
  const mb = (bytes) => (bytes / 2 ** 20).toFixed(0);
  const { collectives, matmuls, cluster: _, source: __, ...rest } = hardware;
  return [
    JSON.stringify(rest),
    JSON.stringify({ overlap: modelProfile.overlap, rest: modelProfile.rest }),
    ...matmuls.map(
      (m) =>
        `  matmul ${m.m}x${m.k}x${m.n} ${m.dtype}: ${m.timeMs.toFixed(3)} ms, ${((2 * m.m * m.k * m.n) / m.timeMs / 1e9).toFixed(0)} TFLOP/s`,
    ),
    ...collectives.map(
      (c) => `  ${c.collective} ${c.ranks} ranks ${c.sizeBytes} B: ${c.timeMs.toFixed(4)} ms`,
    ),
    ...modelProfile.layers.map(
      (l) =>
        `  ${l.kind} ${l.tensorSplit}/${l.tensorDegree} x${l.samples}: forward ${l.forwardMs.toFixed(3)} backward ${l.backwardMs.toFixed(3)} ms, workspace ${mb(l.workspaceBytes)} MB, activations ${mb(l.activationBytes)} MB`,
    ),
  ].join("\n");
}
