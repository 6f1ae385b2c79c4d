// Writes a hardware and a model profile as .arrow files into the folder given, with values that Python checks.
const { writeFileSync } = require("node:fs");
const { join } = require("node:path");
const { writeHardwareTable } = require("../../dist/src/profiler/hardware-table.js");
const { writeModelTable } = require("../../dist/src/profiler/model-table.js");
const { modelSpec } = require("../../dist/src/families/registry.js");

const folder = process.argv[2];
const cluster = {
  name: "this machine",
  device: "host",
  deviceName: "a processor",
  nodes: 1,
  ranksPerNode: 2,
  memoryBytesPerRank: 2 ** 33,
};
const collective = { collective: "allReduce", ranks: 2, stride: 1, nodes: 1, concurrentGroups: 1 };
writeFileSync(
  join(folder, "hardware.arrow"),
  writeHardwareTable({
    cluster,
    source: "measured",
    matmuls: [{ m: 128, k: 256, n: 512, dtype: "float32", timeMs: 0.1 + 0.2 }],
    collectives: [
      { ...collective, sizeBytes: 4096, timeMs: 1 / 3 },
      { ...collective, sizeBytes: 2 ** 40, timeMs: 7 },
    ],
    computeSlowdown: 1.25,
    communicationSlowdown: 1.5,
    optimizerGBps: 3.5,
    launchMs: 0.001,
    reservedBytes: 123456789,
  }),
);
writeFileSync(
  join(folder, "model.arrow"),
  writeModelTable({
    model: modelSpec("gpt", { layers: 2, hidden: 32, heads: 4, sequence: 16 }),
    precision: "float32",
    device: "a processor",
    source: "measured",
    layers: [1, 2, 4].map((samples) => ({
      kind: "decoder",
      tensorDegree: 2,
      tensorSplit: "weights",
      samples,
      sequence: 16,
      forwardMs: samples / 3,
      backwardMs: samples / 7,
      activationBytes: samples * 2 ** 33,
      inputBytes: 16,
      parameterElements: 12345,
      workspaceBytes: 678,
    })),
  }),
);
