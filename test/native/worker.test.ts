import { afterEach, describe, expect, test } from "vitest";
import type { NativeWorker } from "../../src/device/addon.js";
import { loadAddon } from "../../src/device/load-addon.js";
import { onnxRuntimePath } from "../../src/device/onnx-runtime-path.js";
import type { GraphRef } from "../../src/graph/graph-ref.js";
import type { Instruction, Program } from "../../src/program/program.js";
import { bytesOf, draftProgram, type ProgramDraft, valuesOf } from "../support/native-program.js";
import { type NativeRank, startNativeRank } from "../support/native-ranks.js";
import { tinyOnnx } from "../support/tiny-onnx.js";

const OPTIONS = {
  device: "host",
  deviceIndex: 0,
  rank: 0,
  ranks: 1,
  onnxRuntimePath: onnxRuntimePath(),
  sharedName: "",
  threads: 1,
  deadlineMs: 10_000,
} as const;

let worker: NativeWorker | undefined;
let child: NativeRank | undefined;
afterEach(async () => {
  await worker?.close();
  worker = undefined;
  child?.process.kill();
  child = undefined;
});

const open = (): NativeWorker => {
  worker = loadAddon().openWorker(OPTIONS);
  return worker;
};

/** c = a·b, d = c + c. */
function matmulGraph(dtype: "float32" | "float64" = "float32"): { ref: GraphRef; bytes: Uint8Array } {
  const a = { name: "a", dtype, shape: [2, 3] };
  const b = { name: "b", dtype, shape: [3, 4] };
  const c = { name: "c", dtype, shape: [2, 4] };
  const d = { name: "d", dtype, shape: [2, 4] };
  return {
    ref: { id: `matmul-${dtype}`, name: "matmul", inputs: [a, b], outputs: [c, d], flops: 48 },
    bytes: tinyOnnx(
      [
        { op: "MatMul", inputs: ["a", "b"], outputs: ["c"] },
        { op: "Add", inputs: ["c", "c"], outputs: ["d"] },
      ],
      [a, b],
      [c, d],
    ),
  };
}

function matmulProgram(draft: ProgramDraft, dtype: "float32" | "float64" = "float32"): Program {
  const { ref } = matmulGraph(dtype);
  const graph = draft.graph(ref);
  const [a, b, c, d] = [[2, 3], [12], [2, 4], [2, 4]].map((shape) => draft.tensor(dtype, shape));
  draft.add({ op: "run", graph, inputs: [a!, b!], outputs: [c!, d!] });
  return draft.build();
}

test.each(["float32", "float64"] as const)(
  "a %s graph reads and writes the arena in place",
  async (dtype) => {
    const { ref, bytes } = matmulGraph(dtype);
    const native = open();
    await native.load(matmulProgram(draftProgram(0), dtype), { [ref.id]: bytes });
    for (let run = 1; run <= 3; run++) {
      await native.write(0, bytesOf(dtype, [run, 2, 3, 4, 5, 6]));
      await native.write(1, bytesOf(dtype, [1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1]));
      const times = await native.step();
      expect(times.stepMs).toBeGreaterThan(0);
      expect(times.instructionsMs.length).toBe(2);
      expect(times.arenaBytes).toBe(1024);
      expect(valuesOf(dtype, await native.read(2))).toEqual([run, 2, 3, run + 5, 4, 5, 6, 15]);
      expect(valuesOf(dtype, await native.read(3))).toEqual([2 * run, 4, 6, 2 * run + 10, 8, 10, 12, 30]);
    }
  },
);

test("a part of a tensor is filled with the same bytes again and again", async () => {
  const draft = draftProgram(0);
  const tensor = draft.tensor("float32", [12]);
  const native = open();
  await native.load(draft.build(), {});
  await native.writeRepeated(tensor, 4, 36, bytesOf("float32", [1, 2, 3]));
  expect(valuesOf("float32", await native.read(tensor))).toEqual([0, 1, 2, 3, 1, 2, 3, 1, 2, 0, 0, 0]);
  await native.writeRepeated(tensor, 40, 48, bytesOf("float32", [7, 8, 9]));
  expect(valuesOf("float32", await native.read(tensor)).slice(9)).toEqual([0, 7, 8]);
  await expect(native.writeRepeated(tensor, 40, 52, bytesOf("float32", [1]))).rejects.toThrow(
    /bytes 40 to 52 of tensor .* which has 48/,
  );
  await expect(native.writeRepeated(tensor, 8, 8, bytesOf("float32", [1]))).rejects.toThrow(/not empty/);
});

test("ONNX Runtime's own bytes are counted: what a graph keeps between its nodes", async () => {
  const shape = [256, 1024];
  const value = (name: string) => ({ name, dtype: "float32" as const, shape });
  const ref: GraphRef = { id: "exp", name: "exp", inputs: [value("a")], outputs: [value("d")], flops: 0 };
  // b and c live at the same time, 1 MB each, and p of 256 kB; the transpose is fused into its product.
  const bytes = tinyOnnx(
    [
      { op: "Exp", inputs: ["a"], outputs: ["b"] },
      { op: "Sin", inputs: ["b"], outputs: ["c"] },
      { op: "MatMul", inputs: ["b", "t"], outputs: ["p"] },
      { op: "Transpose", inputs: ["c"], outputs: ["t"] },
      { op: "MatMul", inputs: ["p", "c"], outputs: ["d"] },
    ].sort((x, y) => "bctpd".indexOf(x.outputs[0]!) - "bctpd".indexOf(y.outputs[0]!)),
    [value("a")],
    [value("d")],
  );
  const draft = draftProgram(0);
  const graph = draft.graph(ref);
  const a = draft.tensor("float32", shape);
  const d = draft.tensor("float32", shape);
  draft.add({ op: "run", graph, inputs: [a], outputs: [d] });
  const native = open();
  await native.load(draft.build(), { exp: bytes });
  const { onnxRuntimeBytes } = await native.step();
  expect(onnxRuntimeBytes).toBe(2.25 * 2 ** 20);
  expect((await native.step()).onnxRuntimeBytes).toBe(onnxRuntimeBytes);
});

test("another program takes the place of the one before", async () => {
  const { ref, bytes } = matmulGraph();
  const native = open();
  await native.load(matmulProgram(draftProgram(0)), { [ref.id]: bytes });
  await native.step();
  const draft = draftProgram(0);
  const x = draft.tensor("int64", [3]);
  draft.add({ op: "fill", value: 7, output: x });
  await native.load(draft.build(), {});
  await native.step();
  expect(valuesOf("int64", await native.read(x))).toEqual([7, 7, 7]);
});

test("a program that was refused leaves the worker usable; closing twice is fine; a closed one says so", async () => {
  const { ref, bytes } = matmulGraph();
  const native = open();
  const program = matmulProgram(draftProgram(0));
  await expect(native.load(program, {})).rejects.toMatchObject({ code: "ARGUMENT_INVALID" });
  await expect(native.step()).rejects.toMatchObject({
    code: "ARGUMENT_INVALID",
    message: /no program is loaded/,
  });
  await expect(native.load(program, { [ref.id]: bytes.slice(0, 40) })).rejects.toMatchObject({
    code: "DEVICE_FAILED",
    message: /ONNX Runtime: graph matmul/,
  });
  await native.load(program, { [ref.id]: bytes });
  await native.step();
  await Promise.all([native.close(), native.close()]);
  await native.close();
  expect(() => native.step()).toThrow(/closed/);
});

test("after an abort every call fails with its reason", async () => {
  const { ref, bytes } = matmulGraph();
  const native = open();
  await native.load(matmulProgram(draftProgram(0)), { [ref.id]: bytes });
  native.abort("enough");
  await expect(native.step()).rejects.toMatchObject({ code: "RUN_STOPPED", message: /enough/ });
});

test("keeps the beginning of the arena for the program that comes after, and zeroes the rest", async () => {
  const native = open();
  const programOf = (elements: number): Program => {
    const draft = draftProgram(0);
    const states = draft.tensor("float32", [2000]);
    const rest = draft.tensor("float32", [elements]);
    draft.add({ op: "fill", value: 1, output: rest });
    draft.add({ op: "accumulate", input: states, output: states });
    return draft.build();
  };
  const program = programOf(3000);
  const keptBytes = 4 * 1500;
  await expect(native.load(program, {}, keptBytes)).rejects.toThrow(
    /6000 bytes were to be kept, but no program with an arena of \d+ bytes is loaded/,
  );
  await native.load(program, {});
  await native.write(0, bytesOf("float32", Array(2000).fill(3)));
  await native.step();
  await native.load(program, {}, keptBytes);
  const states = valuesOf("float32", await native.read(0));
  expect(Array.from(states)).toEqual([...Array(1500).fill(6), ...Array(500).fill(0)]);
  expect(new Set(valuesOf("float32", await native.read(1)))).toEqual(new Set([0]));
  await native.step();
  expect(valuesOf("float32", await native.read(0))[0]).toBe(12);
  // What was loaded stays when another arena is asked to be kept.
  await expect(native.load(programOf(9000), {}, keptBytes)).rejects.toThrow(/no program with an arena/);
  await native.step();
  expect(valuesOf("float32", await native.read(0))[0]).toBe(24);
});

describe("a program is refused at the door", () => {
  const { ref, bytes } = matmulGraph();
  const broken: readonly [string, RegExp, (program: Program) => unknown][] = [
    ["rank", /this worker is rank 0, the program is for rank 1/, (p) => ({ ...p, rank: 1 })],
    ["no list", /program\.tensors: an array was expected/, (p) => ({ ...p, tensors: 5 })],
    [
      "dtype",
      /tensors\[0\]\.dtype: one of float32, .* was expected, not "float8"/,
      (p) => ({
        ...p,
        tensors: [{ ...p.tensors[0], dtype: "float8" }, ...p.tensors.slice(1)],
      }),
    ],
    [
      "negative extent",
      /tensors\[0\]\.shape\[1\]: a whole number/,
      (p) => ({
        ...p,
        tensors: [{ ...p.tensors[0], shape: [2, -3] }, ...p.tensors.slice(1)],
      }),
    ],
    [
      "outside the buffer",
      /tensors\[0\].*lie outside buffer/,
      (p) => ({
        ...p,
        tensors: [{ ...p.tensors[0], shape: [2000] }, ...p.tensors.slice(1)],
      }),
    ],
    [
      "unaligned",
      /no multiple of its 4-byte elements/,
      (p) => ({
        ...p,
        tensors: [{ ...p.tensors[0], shape: [1], offsetBytes: 2 }, ...p.tensors.slice(1)],
      }),
    ],
    ["outside the arena", /buffers\[0\].*outside the arena/, (p) => ({ ...p, arenaBytes: 8 })],
    ["number of ports", /has 2 ports here, 1 tensors were given/, (p) => withFirst(p, { inputs: [0] })],
    [
      "no such tensor",
      /inputs\[1\] \(b\): 77 is no tensor \(0 to 3\)/,
      (p) => withFirst(p, { inputs: [0, 77] }),
    ],
    ["elements of a port", /must have 12 elements/, (p) => withFirst(p, { inputs: [0, 0] })],
    ["no such graph", /graph: 9 is no graph/, (p) => withFirst(p, { graph: 9 })],
    [
      "waits for a later one",
      /waits for instruction 0, which is not an earlier one/,
      (p) => withFirst(p, { waits: [0] }),
    ],
    ["unknown op", /op: one of run, .* not "jump"/, (p) => withFirst(p, { op: "jump" })],
    [
      "a foreign group",
      /does not belong to group 0|ranks go from 0 to 0/,
      (p) => ({
        ...withFirst(p, { op: "allReduce", group: 0, reduction: "sum", input: 0, output: 0 }),
        groups: [[1]],
      }),
    ],
    [
      "itself as peer",
      /peer 0 is no other rank of 1/,
      (p) => withFirst(p, { op: "send", peer: 0, tensor: 0 }),
    ],
    [
      "a gather too small",
      /must have 6 elements/,
      (p) => ({
        ...withFirst(p, { op: "allGather", group: 0, reduction: "sum", input: 0, output: 2 }),
        groups: [[0]],
      }),
    ],
    [
      "a block outside",
      /block reaches outside a tensor in axis 1/,
      (p) =>
        withFirst(p, {
          op: "copyBlock",
          input: 0,
          output: 2,
          inputStart: [0, 1],
          outputStart: [0, 0],
          extent: [2, 3],
        }),
    ],
    [
      "moments of another size",
      /moment1: .* must have 6 elements/,
      (p) =>
        withFirst(p, {
          op: "adamw",
          parameter: 0,
          gradient: 0,
          moment1: 1,
          moment2: 0,
          decayElements: 0,
          hyper: 1,
          clip: 1,
          computeCopy: -1,
        }),
    ],
  ];
  function withFirst(program: Program, fields: Record<string, unknown>): Program {
    return {
      ...program,
      instructions: [{ ...program.instructions[0], ...fields } as unknown as Instruction],
    };
  }

  test.each(broken)("%s", async (_, message, breakIt) => {
    const native = open();
    const program = breakIt(matmulProgram(draftProgram(0))) as Program;
    const load = async (): Promise<void> => native.load(program, { [ref.id]: bytes });
    await expect(load()).rejects.toMatchObject({ code: "PROGRAM_INVALID", message });
  });

  test("a tensor of another size than its bytes, or none", async () => {
    const native = open();
    await native.load(matmulProgram(draftProgram(0)), { [ref.id]: bytes });
    await expect(native.write(0, new Uint8Array(3))).rejects.toMatchObject({
      code: "ARGUMENT_INVALID",
      message: /has 24 bytes, 3 were given/,
    });
    await expect(native.read(9)).rejects.toMatchObject({ code: "ARGUMENT_INVALID" });
  });
});

test("options of a worker", () => {
  const addon = loadAddon();
  const opening = (wrong: object) => () => addon.openWorker({ ...OPTIONS, ...wrong });
  expect(opening({ rank: 2 })).toThrow(/rank: a whole number from 0 to 0/);
  expect(opening({ device: "tpu" })).toThrow(/one of host, cuda/);
  expect(opening({ threads: 0 })).toThrow(/threads/);
  expect(opening({ deadlineMs: 0 })).toThrow(/deadlineMs/);
  expect(opening({ ranks: 2 })).toThrow(/shared memory/);
  expect(opening({ ranks: 2, sharedName: "galvatron-never-made" })).toThrow(/cannot be opened/);
});

test("a worker process holds ONNX Runtime's library and none of its JavaScript; ten thousand steps leave no trace", async () => {
  child = startNativeRank();
  await child.ask("open", OPTIONS);
  const { ref, bytes } = matmulGraph();
  await child.load(matmulProgram(draftProgram(0)), { [ref.id]: bytes });
  await child.ask("steps", 3_000);
  const before: number = await child.ask("rss");
  await child.ask("steps", 10_000);
  const after: number = await child.ask("rss");
  // A kilobyte left by each step would be ten megabytes.
  expect(after - before).toBeLessThan(6 * 2 ** 20);

  const { modules, libraries } = (await child.ask("loaded")) as { modules: string[]; libraries: string[] };
  expect(modules.filter((file) => file.includes("onnxruntime"))).toEqual([]);
  expect(libraries.filter((file) => file.includes("onnxruntime"))).toEqual([onnxRuntimePath()]);
}, 120_000);

test("programs loaded over and over give their memory back", async () => {
  child = startNativeRank();
  await child.ask("open", OPTIONS);
  const { ref, bytes } = matmulGraph();
  const load = async (times: number): Promise<void> => {
    for (let i = 0; i < times; i++) {
      const draft = draftProgram(0);
      const big = draft.tensor("float32", [2 ** 20]);
      draft.add({ op: "fill", value: 1, output: big });
      await child!.load(matmulProgram(draft), { [ref.id]: bytes });
      await child!.step();
    }
  };
  await load(10);
  const before: number = await child.ask("rss");
  await load(60);
  const after: number = await child.ask("rss");
  // A program that stayed would cost 4 MB each.
  expect(after - before).toBeLessThan(24 * 2 ** 20);
}, 120_000);
