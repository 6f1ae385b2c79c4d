import { tableFromIPC, tableToIPC } from "apache-arrow";
import { describe, expect, it } from "vitest";
import type { HardwareProfile } from "../../src/cluster/hardware-profile.js";
import type { ModelProfile } from "../../src/model/model-profile.js";
import { hardwareProfileOf, hardwareTable } from "../../src/profiler/hardware-table.js";
import { modelProfileOf, modelTable } from "../../src/profiler/model-table.js";

const hardware: HardwareProfile = {
  cluster: {
    name: "this machine",
    device: "host",
    deviceName: "a CPU",
    nodes: 1,
    ranksPerNode: 2,
    memoryBytesPerRank: 2 ** 33 + 1,
  },
  source: "measured",
  matmuls: [{ m: 64, k: 128, n: 256, dtype: "float32", timeMs: 0.1 + 0.2 }],
  collectives: [
    {
      collective: "allReduce",
      ranks: 2,
      stride: 1,
      nodes: 1,
      concurrentGroups: 1,
      sizeBytes: 2 ** 40,
      timeMs: 1 / 3,
    },
  ],
  computeSlowdown: 1.25,
  communicationSlowdown: Math.PI,
  optimizerGBps: 7.7,
  launchMs: 1e-3,
  reservedBytes: 12345678,
};

const model: ModelProfile = {
  model: {
    family: "gpt",
    name: "gpt – tiny",
    sequence: 32,
    vocabulary: 256,
    kinds: {
      decoder: {
        name: "decoder",
        hidden: 64,
        heads: 4,
        keyValueHeads: 4,
        feedForward: 256,
        sequence: 32,
        parameters: 1,
        forwardFlops: 2,
      },
    },
    layers: ["decoder", "decoder"],
    embedding: { parameters: 3 },
    head: { parameters: 4, forwardFlops: 5, tied: false },
    options: { epsilon: 1e-5, activation: "gelu", bias: true },
  },
  precision: "float32",
  held: {
    few: { graphs: 6, bytes: 2 ** 29 + 1, connected: false },
    many: { graphs: 20, bytes: 2 ** 30, connected: true },
  },
  overlap: {
    computeSlowdown: 1.3,
    communicationSlowdown: 2.9,
    gathers: { computeSlowdown: 1.1, communicationSlowdown: 1.4 },
    reductions: { computeSlowdown: 1.06, communicationSlowdown: 5.3 },
  },
  rest: [{ workShare: 0.5, timeFactor: 0.9 }],
  betweenGraphs: 1.085,
  device: "a CPU",
  source: "measured",
  layers: [
    {
      kind: "decoder",
      tensorDegree: 2,
      tensorSplit: "sequence",
      samples: 4,
      sequence: 32,
      forwardMs: 0.7,
      backwardMs: 1.1,
      activationBytes: 2 ** 33,
      inputBytes: 5,
      parameterElements: 6,
      workspaceBytes: 7,
    },
  ],
};

describe("profile tables", () => {
  it("brings a hardware profile back exactly, through the bytes of an Arrow file", () => {
    expect(hardwareProfileOf(tableFromIPC(tableToIPC(hardwareTable(hardware), "file")))).toEqual(hardware);
  });

  it("brings a model profile back exactly, through the bytes of an Arrow file", () => {
    expect(modelProfileOf(tableFromIPC(tableToIPC(modelTable(model), "file")))).toEqual(model);
  });

  it("brings profiles without measurements back", () => {
    const empty = { ...hardware, matmuls: [], collectives: [] };
    expect(hardwareProfileOf(tableFromIPC(tableToIPC(hardwareTable(empty), "file")))).toEqual(empty);
  });

  it("refuses a table of the other kind, and metadata that is none", () => {
    expect(() => hardwareProfileOf(modelTable(model))).toThrow(/no hardware profile/);
    expect(() => modelProfileOf(hardwareTable(hardware))).toThrow(/no model profile/);
    expect(
      () =>
        modelTable({ ...model, precision: "float8" as never }) &&
        modelProfileOf(modelTable({ ...model, precision: "float8" as never })),
    ).toThrow(/precision/);
  });
});
