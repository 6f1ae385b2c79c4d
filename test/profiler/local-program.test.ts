import { expect, test } from "vitest";
import { DTYPE_BYTES } from "../../src/base/units.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { localProgram, programInGroup } from "../../src/profiler/local-program.js";
import { simulateTimes } from "../../src/program/simulate.js";
import { lower, smallModel } from "../program/small-model.js";

const model = smallModel(2, { tied: false });
const { programs } = lower(model, uniformPlan(model, { ranks: 2, globalBatch: 4, tensorDegree: 2 }));
const original = programs[0]!;
const { program, places } = localProgram(original, 1);

test("a local program talks to nobody, and keeps what computes where it can be found", () => {
  const talks = [
    "allReduce",
    "allGather",
    "reduceScatter",
    "allToAll",
    "broadcast",
    "exchange",
    "send",
    "receive",
  ];
  expect(original.instructions.some(({ op }) => op === "allGather")).toBe(true);
  expect(program.instructions.filter(({ op }) => talks.includes(op))).toEqual([]);
  expect(places).toHaveLength(original.instructions.length);
  original.instructions.forEach((instruction, index) => {
    const there = program.instructions[places[index]!]!;
    expect(there.label).toEqual(instruction.label);
    expect(there.stream).toBe(instruction.stream);
    if (instruction.op === "run") expect(there).toMatchObject({ op: "run", graph: instruction.graph });
  });
  program.instructions.forEach(({ waits }, index) => {
    for (const wait of waits) expect(wait).toBeLessThan(index);
  });
});

test("what others would send is a copy of the rank's own share, all over the output", () => {
  const size = (tensor: number): number => {
    const { shape, dtype } = program.tensors[tensor]!;
    return DTYPE_BYTES[dtype] * shape.reduce((product, extent) => product * extent, 1);
  };
  let gathers = 0;
  original.instructions.forEach((instruction, index) => {
    if (instruction.op !== "allGather") return;
    gathers++;
    const from = index === 0 ? 0 : places[index - 1]! + 1;
    const copies = program.instructions.slice(from, places[index]! + 1);
    const output = original.tensors[instruction.output]!;
    const written = copies.flatMap((copy) =>
      copy.op === "copy" ? [program.tensors[copy.output]!.offsetBytes - output.offsetBytes] : [],
    );
    expect(written).toEqual(copies.map((_, piece) => piece * size(instruction.input)));
    expect(copies.length * size(instruction.input)).toBe(size(instruction.output));
  });
  expect(gathers).toBeGreaterThan(0);
});

test("groups side by side talk within themselves, and reduce no gradients", () => {
  const plan = uniformPlan(model, { ranks: 2, globalBatch: 4, tensorDegree: 2, tensorSplit: "sequence" });
  const group = lower(model, plan).programs;
  const reductions = group[0]!.instructions.filter(({ stream }) => stream === "reduce").length;
  expect(reductions).toBeGreaterThan(1);
  const ran = [0, 1, 2, 3].map((rank) => programInGroup(group, rank).program);
  expect(ran.map(({ groups }) => groups)).toEqual([[[0, 1]], [[0, 1]], [[2, 3]], [[2, 3]]]);
  for (const [rank, one] of ran.entries()) {
    expect(one.rank).toBe(rank);
    const talks = one.instructions.filter((instruction) => "group" in instruction);
    expect(talks.some(({ op }) => op === "allToAll")).toBe(true);
    expect(talks.filter(({ label }) => label.phase === "reduce")).toEqual([]);
  }
  // Every collective still meets the same one on the other rank of its group, so steps end.
  expect(simulateTimes(ran, () => 1).stepMs).toBeGreaterThan(0);
});
