import { describe, expect, test } from "vitest";
import type { Plan } from "../../src/plan/plan.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import type {
  CollectiveInstruction,
  Instruction,
  Program,
  TransferInstruction,
} from "../../src/program/program.js";
import { readState } from "../../src/program/read-state.js";
import { gathersParameters } from "../../src/program/span-kind.js";
import { verifyProgram } from "../../src/program/verify-program.js";
import { lower, smallModel } from "./small-model.js";

type SumSquares = Extract<Instruction, { readonly op: "sumSquares" }>;

const model = smallModel(4);

/** Two stages of different layouts, two tensor degrees, every ZeRO mode, recompute, relayouts: much to break. */
function mixedPlan(): Plan {
  const base = uniformPlan(model, {
    ranks: 8,
    pipelineDegree: 2,
    tensorDegree: 2,
    globalBatch: 8,
    microBatches: 2,
  });
  const strategy = base.layers[0]!;
  return {
    ...base,
    layers: [
      { ...strategy, dataParallel: "zero3", recompute: true },
      { ...strategy, tensorDegree: 1, dataDegree: 4, dataParallel: "zero2" },
      { ...strategy, placement: "strided", dataParallel: "zero1" },
      { ...strategy, tensorSplit: "sequence" },
    ],
  };
}

const { programs } = lower(model, mixedPlan());

/** The programs with one rank's instructions changed. */
function withInstructions(rank: number, change: (instructions: Instruction[]) => void): readonly Program[] {
  const instructions = [...programs[rank]!.instructions];
  change(instructions);
  return programs.map((program) => (program.rank === rank ? { ...program, instructions } : program));
}

/** Takes an instruction out; waits and lifetimes are renumbered, so that only its work is missing. */
function without(rank: number, dropped: number, all: readonly Program[] = programs): readonly Program[] {
  const renumber = (index: number): number => (index > dropped ? index - 1 : index);
  const program = all[rank]!;
  const gone = program.instructions[dropped]!;
  const before =
    dropped === 0
      ? -1
      : program.instructions.map(({ stream }) => stream).lastIndexOf(gone.stream, dropped - 1);
  const instead = before >= 0 ? [...gone.waits, before] : gone.waits;
  const instructions = program.instructions
    .filter((_, index) => index !== dropped)
    .map((instruction) => ({
      ...instruction,
      // Whoever waited for it waits for what it waited for.
      waits: [...new Set(instruction.waits.flatMap((wait) => (wait === dropped ? instead : [wait])))].map(
        renumber,
      ),
    }));
  const buffers = program.buffers.map((buffer) => ({
    ...buffer,
    first: renumber(buffer.first),
    last: Math.max(renumber(buffer.first), renumber(buffer.last)),
  }));
  return all.map((one) => (one.rank === rank ? { ...one, instructions, buffers } : one));
}

test("the programs are sound before anything is broken, and hold one of everything", () => {
  expect(verifyProgram(programs, model)).toEqual([]);
  const ops = new Set(programs.flatMap(({ instructions }) => instructions.map(({ op }) => op)));
  for (const op of [
    "run",
    "allReduce",
    "allGather",
    "reduceScatter",
    "allToAll",
    "send",
    "receive",
    "exchange",
    "copyBlock",
    "accumulate",
    "fill",
    "sumSquares",
    "clip",
    "adamw",
  ] as const) {
    expect(ops, op).toContain(op);
  }
});

describe("every instruction is needed", () => {
  // One rank of each stage; every instruction in its turn would take minutes, so each op of each phase and stream.
  const cases = [1, 6].flatMap((rank) => {
    const seen = new Map<string, [number, number, string]>();
    for (const [index, { op, label, stream }] of programs[rank]!.instructions.entries()) {
      const key = `${op} in ${label.phase} on ${stream}`;
      seen.set(`${key} first`, seen.get(`${key} first`) ?? [rank, index, key]);
      seen.set(`${key} last`, [rank, index, key]);
    }
    return [...seen.values()];
  });

  test.each(cases)("rank %i without instruction %i (%s)", (rank, index) => {
    expect(verifyProgram(without(rank, index), model)).not.toEqual([]);
  });
});

describe("what is reported", () => {
  test("two instructions of a stream in the wrong order", () => {
    const at = programs[0]!.instructions.findIndex(
      ({ op }, index) => op === "run" && programs[0]!.instructions[index + 1]?.op === "reduceScatter",
    );
    const swapped = withInstructions(0, (instructions) => {
      [instructions[at], instructions[at + 1]] = [instructions[at + 1]!, instructions[at]!];
    });
    expect(verifyProgram(swapped).join("\n")).toMatch(/whose bytes|before it is written|without waiting/);
  });

  test("two collectives in different orders on two ranks", () => {
    const gathers = programs[0]!.instructions.flatMap(({ stream }, index) =>
      stream === "gather" ? [index] : [],
    );
    const [a, b] = [gathers.at(-1)!, gathers.at(-2)!];
    const swapped = withInstructions(0, (instructions) => {
      [instructions[a], instructions[b]] = [
        { ...instructions[b]!, waits: instructions[a]!.waits },
        { ...instructions[a]!, waits: instructions[b]!.waits },
      ];
    });
    expect(verifyProgram(swapped)).not.toEqual([]);
  });

  test("every wait that is left out", () => {
    const program = programs[5]!;
    const waiting = program.instructions.flatMap(({ waits }, index) => (waits.length > 0 ? [index] : []));
    const every = Math.ceil(waiting.length / 40);
    for (const index of waiting.filter((_, i) => i % every === 0)) {
      for (const wait of program.instructions[index]!.waits) {
        const broken = withInstructions(5, (instructions) => {
          const instruction = instructions[index]!;
          instructions[index] = { ...instruction, waits: instruction.waits.filter((one) => one !== wait) };
        });
        expect(verifyProgram(broken).join("\n"), `${index} without ${wait}`).toMatch(/without waiting/);
      }
    }
  });

  test("a wait for itself or for the future", () => {
    const broken = withInstructions(2, (instructions) => {
      instructions[3] = { ...instructions[3]!, waits: [7] };
    });
    expect(verifyProgram(broken)).toEqual([expect.stringMatching(/waits for 7, which is not before it/)]);
  });

  test("a buffer that is too small", () => {
    const buffers = programs[3]!.buffers.map((buffer, index) =>
      index === 20 ? { ...buffer, sizeBytes: buffer.sizeBytes - 4 } : buffer,
    );
    const broken = programs.map((program) => (program.rank === 3 ? { ...program, buffers } : program));
    expect(verifyProgram(broken).join()).toMatch(/outside its buffer/);
  });

  test("two live buffers in the same bytes", () => {
    const program = programs[3]!;
    const victim = program.buffers.findIndex(
      ({ persistent, first, last }) => !persistent && last - first > 20,
    );
    const { first, sizeBytes } = program.buffers[victim]!;
    const thief = program.buffers.findIndex(
      (buffer) =>
        !buffer.persistent &&
        buffer.first > first &&
        buffer.first < program.buffers[victim]!.last &&
        buffer.sizeBytes <= sizeBytes,
    );
    const buffers = program.buffers.map((buffer, index) =>
      index === thief ? { ...buffer, offsetBytes: program.buffers[victim]!.offsetBytes } : buffer,
    );
    const broken = programs.map((one) => (one.rank === 3 ? { ...one, buffers } : one));
    expect(verifyProgram(broken).join("\n")).toMatch(/live at once/);
  });

  test("a transfer of another size than expected", () => {
    const broken = withInstructions(4, (instructions) => {
      const at = instructions.findIndex(({ op }) => op === "receive");
      const receive = instructions[at] as TransferInstruction;
      const other = programs[4]!.tensors.findIndex(({ shape }) => shape.length === 1 && shape[0] === 2);
      instructions[at] = { ...receive, tensor: other };
    });
    expect(verifyProgram(broken).join("\n")).toMatch(/transfer of/);
  });

  test("a receive before a send that it waits for: deadlock", () => {
    // Rank 0's first send goes where its last receive stands, and everything waits behind it.
    const broken = withInstructions(0, (instructions) => {
      const send = instructions.findIndex(({ op }) => op === "send");
      const receive = instructions.findIndex(({ op }) => op === "receive");
      expect(send).toBeLessThan(receive);
      const moved = instructions.splice(receive, 1)[0]!;
      instructions.splice(send, 0, { ...moved, waits: [] });
      instructions[send + 1] = { ...instructions[send + 1]!, waits: [send] };
    });
    expect(verifyProgram(broken).join("\n")).toMatch(/deadlock/);
  });

  test("a gradient that counts a micro-batch twice", () => {
    const program = programs[7]!;
    const at = program.instructions.findIndex(({ op }) => op === "accumulate");
    const twice = program.instructions.flatMap((instruction, index) =>
      index === at ? [instruction, instruction] : [instruction],
    );
    const shift = (index: number): number => (index >= at ? index + 1 : index);
    const instructions = twice.map((instruction) => ({
      ...instruction,
      waits: instruction.waits.map(shift),
    }));
    const buffers = program.buffers.map((buffer) => ({
      ...buffer,
      first: buffer.first > at ? buffer.first + 1 : buffer.first,
      last: shift(buffer.last),
    }));
    const broken = programs.map((one) => (one.rank === 7 ? { ...one, instructions, buffers } : one));
    expect(verifyProgram(broken).join("\n")).toMatch(/counted once/);
  });

  describe.each([
    ["zero1", "float32", "deferred"],
    ["zero2", "bfloat16", "deferred"],
    ["zero1", "float32", "canonical"],
  ] as const)("gathers of %s in %s, sums in %s order", (dataParallel, precision, gradientOrder) => {
    const tied = smallModel(4, { tied: true });
    const options = { ranks: 4, globalBatch: 8, microBatches: 2, dataParallel, precision, gradientOrder };
    const { programs: whole } = lower(tied, uniformPlan(tied, options));
    const gathers = whole[0]!.instructions.flatMap((one, index) => (gathersParameters(one) ? [index] : []));

    test("parameters that others have updated and nobody gathers", () => {
      expect(verifyProgram(whole, tied)).toEqual([]);
      // Each once, the table that embedding and head share too.
      expect(gathers).toHaveLength(whole[0]!.flats.length);
      for (const index of gathers) {
        const broken = whole.reduce<readonly Program[]>(
          (programs, _, rank) => without(rank, index, programs),
          whole,
        );
        const { output } = whole[0]!.instructions[index] as CollectiveInstruction;
        const ahead = whole[0]!.flats.some(
          (flat) => flat.wholeBetweenSteps && flat[readState(flat)] === output,
        );
        expect(verifyProgram(broken).join("\n"), `without ${index}`).toMatch(
          ahead ? /not gathered behind their update/ : /before it is written/,
        );
      }
    });

    test("a piece that is gathered in place from the place of another", () => {
      const { input } = whole[1]!.instructions[gathers[0]!] as CollectiveInstruction;
      const tensors = whole[1]!.tensors.map((tensor, index) =>
        index === input ? { ...tensor, offsetBytes: 0 } : tensor,
      );
      const broken = whole.map((program) => (program.rank === 1 ? { ...program, tensors } : program));
      expect(verifyProgram(broken).join("\n")).toMatch(/gathers in place/);
    });
  });

  test("a norm that forgets what it counted first, counts it twice, or counts another rank's", () => {
    const { programs: whole } = lower(
      model,
      uniformPlan(model, { ranks: 2, globalBatch: 8, dataParallel: "zero1" }),
    );
    const changed = (of: (one: Instruction) => Instruction): string =>
      verifyProgram(
        whole.map((program) =>
          program.rank === 0 ? program : { ...program, instructions: program.instructions.map(of) },
        ),
      ).join("\n");
    const squares = whole[0]!.instructions.filter(({ op }) => op === "sumSquares");
    expect(squares).toHaveLength(2);
    const [{ inputs: first }, { inputs: second }] = squares as [SumSquares, SumSquares];
    expect(changed((one) => one)).toBe("");
    const overwrites = changed((one) => {
      if (one.op !== "sumSquares") return one;
      const { accumulates: _dropped, ...plain } = one;
      return plain;
    });
    expect(overwrites).toMatch(/norm counts/);
    for (const inputs of [
      [...first, ...second],
      [...second.slice(1), second[1]!],
    ])
      expect(
        changed((one) => (one.op === "sumSquares" && one.accumulates ? { ...one, inputs } : one)),
      ).toMatch(/norm counts/);
    // As many elements as before, but the first rank's piece twice and the second's never.
    const tensors = whole[1]!.tensors.map((view, index) =>
      second.includes(index) ? { ...view, offsetBytes: whole[0]!.tensors[index]!.offsetBytes } : view,
    );
    const others = whole.map((program) => (program.rank === 1 ? { ...program, tensors } : program));
    expect(verifyProgram(others).join("\n")).toMatch(/not each of/);
  });

  test("a loss in the place of another micro-batch's", () => {
    const { programs: whole } = lower(
      model,
      uniformPlan(model, { ranks: 1, globalBatch: 8, microBatches: 2 }),
    );
    const tensors = whole[0]!.tensors.map((tensor) =>
      tensor.name === "loss#1" ? { ...tensor, offsetBytes: 0 } : tensor,
    );
    expect(verifyProgram([{ ...whole[0]!, tensors }]).join("\n")).toMatch(/the loss of micro-batch 0/);
  });

  describe("the canonical order", () => {
    const options = { ranks: 2, globalBatch: 8, microBatches: 2, gradientOrder: "canonical" } as const;
    const { programs: whole } = lower(model, uniformPlan(model, { ...options, dataParallel: "zero2" }));
    const adding = whole[0]!.instructions.flatMap((one, index) =>
      one.op === "reduceScatter" && one.accumulates ? [index] : [],
    );

    test.each([
      ["a sum that a reduction overwrites", [0, 1], /counted once/],
      ["a reduction that only one rank adds to its sum", [1], /reduceScatter \(sum\).*meets|adding sum/],
    ] as const)("%s", (_, ranks, reason) => {
      expect(verifyProgram(whole, model)).toEqual([]);
      expect(adding.length).toBeGreaterThan(2);
      for (const at of adding) {
        const broken = whole.map((program) => {
          if (!(ranks as readonly number[]).includes(program.rank)) return program;
          const instructions = program.instructions.map((instruction, index) => {
            if (index !== at) return instruction;
            const { accumulates: _dropped, ...plain } = instruction as CollectiveInstruction;
            return plain;
          });
          return { ...program, instructions };
        });
        expect(verifyProgram(broken).join("\n")).toMatch(reason);
      }
    });

    test("a reduction that adds to what it reduces, or adds maxima", () => {
      const change = (to: Partial<CollectiveInstruction>): readonly Program[] =>
        whole.map((program) => ({
          ...program,
          instructions: program.instructions.map((one, index) =>
            index === adding[0] ? ({ ...one, ...to } as Instruction) : one,
          ),
        }));
      const { input } = whole[0]!.instructions[adding[0]!] as CollectiveInstruction;
      expect(verifyProgram(change({ output: input })).join("\n")).toMatch(
        /adds to a piece of what it reduces/,
      );
      expect(verifyProgram(change({ reduction: "max" })).join("\n")).toMatch(/only a reduceScatter of sums/);
    });

    test("every wait of a reduction that is left out", () => {
      for (const at of adding) {
        const { waits } = whole[0]!.instructions[at]!;
        for (const wait of waits) {
          const broken = whole.map((program) =>
            program.rank === 0
              ? {
                  ...program,
                  instructions: program.instructions.map((one, index) =>
                    index === at ? { ...one, waits: waits.filter((other) => other !== wait) } : one,
                  ),
                }
              : program,
          );
          expect(verifyProgram(broken).join("\n")).toMatch(/without waiting/);
        }
      }
    });
  });

  test("a reduction that all ranks leave out", () => {
    const { programs: whole } = lower(
      model,
      uniformPlan(model, { ranks: 2, globalBatch: 8, microBatches: 2 }),
    );
    const reductions = whole[0]!.instructions.flatMap(({ label }, index) =>
      label.phase === "reduce" ? [index] : [],
    );
    expect(reductions.length).toBeGreaterThan(4);
    for (const at of reductions) {
      const broken = without(1, at, without(0, at, whole));
      expect(verifyProgram(broken).join("\n")).toMatch(/counted once/);
    }
  });
});
