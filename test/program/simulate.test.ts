import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Overlap } from "../../src/cluster/hardware-profile.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import type { Instruction, Program } from "../../src/program/program.js";
import { type DurationOf, simulate, simulateTimes } from "../../src/program/simulate.js";
import { lower, smallModel } from "./small-model.js";

const model = smallModel(4);

/** A whole number of ms for each operation, the same on every rank. */
const duration: DurationOf = (program, index) => {
  const { op, label } = program.instructions[index]!;
  if (op === "run") return label.phase === "backward" ? 20 : 10;
  return op === "send" || op === "receive" ? 3 : 1;
};

/**
 * The slow way: time stands still until nothing more can start, then jumps to the next end.
 * Returns `[start, end]` by rank and instruction.
 */
function tickByTick(programs: readonly Program[], lasts: DurationOf): number[][][] {
  const times = programs.map(({ instructions }) => instructions.map(() => [-1, Number.POSITIVE_INFINITY]));
  const ended = (rank: number, index: number, now: number): boolean => times[rank]![index]![1]! <= now;
  const ready = (rank: number, index: number, now: number): boolean => {
    const { instructions } = programs[rank]!;
    const { stream, waits } = instructions[index]!;
    if (times[rank]![index]![0]! >= 0) return false;
    return (
      waits.every((wait) => ended(rank, wait, now)) &&
      instructions.slice(0, index).every((other, i) => other.stream !== stream || ended(rank, i, now))
    );
  };
  const partners = (rank: number, index: number, now: number): [number, number][] | undefined => {
    const program = programs[rank]!;
    const instruction = program.instructions[index]!;
    const ranks =
      "group" in instruction
        ? program.groups[instruction.group]!
        : "peer" in instruction
          ? [rank, instruction.peer]
          : [rank];
    const found = ranks.map((other): [number, number] => {
      const matches = (one: Instruction): boolean => {
        if (other === rank) return one === instruction;
        if ("group" in instruction) {
          return (
            one.op === instruction.op &&
            one.stream === instruction.stream &&
            programs[other]!.groups[one.group]!.join() === ranks.join()
          );
        }
        return (
          "peer" in one &&
          "peer" in instruction &&
          one.peer === rank &&
          one.op !== instruction.op &&
          one.stream.slice(0, 6) === instruction.stream.slice(0, 6)
        );
      };
      const at = programs[other]!.instructions.findIndex(
        (one, i) => matches(one) && times[other]![i]![0]! < 0,
      );
      return [other, at];
    });
    return found.every(([other, at]) => at >= 0 && ready(other, at, now)) ? found : undefined;
  };
  for (let now = 0; ; ) {
    for (let started = true; started; ) {
      started = false;
      for (const [rank, program] of programs.entries()) {
        for (const index of program.instructions.keys()) {
          if (!ready(rank, index, now)) continue;
          const meeting = partners(rank, index, now);
          if (meeting === undefined) continue;
          const end = now + Math.max(...meeting.map(([other, at]) => lasts(programs[other]!, at)));
          for (const [other, at] of meeting) times[other]![at] = [now, end];
          started = true;
        }
      }
    }
    const next = Math.min(...times.flat().flatMap(([, end]) => (end! > now ? [end!] : [])));
    if (next === Number.POSITIVE_INFINITY) return times;
    now = next;
  }
}

const PLANS = {
  "1F1B": uniformPlan(model, { ranks: 2, pipelineDegree: 2, globalBatch: 8, microBatches: 4 }),
  "tensor × data with ZeRO-3": uniformPlan(model, {
    ranks: 4,
    tensorDegree: 2,
    globalBatch: 8,
    microBatches: 2,
    dataParallel: "zero3",
  }),
};

const addsBeside = ({ op, stream }: Instruction): boolean => op === "accumulate" && stream === "reduce";

describe.each(Object.entries(PLANS))("%s", (_, plan) => {
  const { programs } = lower(model, plan);

  test("plays as the slow simulation does", () => {
    const { times, stepMs } = simulateTimes(programs, duration);
    const slow = tickByTick(programs, duration);
    expect(times.map((one) => [...one])).toEqual(slow.map((one) => one.flat()));
    expect(stepMs).toBe(Math.max(...slow.flat().map(([, end]) => end!)));
  });

  test("the simulation with slowdowns of nearly 1 agrees with the one without", () => {
    // But for what computes beside computing.
    const apart: DurationOf = (program, index) =>
      addsBeside(program.instructions[index]!) ? 0 : duration(program, index);
    const plain = simulateTimes(programs, apart);
    const barely = { computeSlowdown: 1 + 1e-12, communicationSlowdown: 1 };
    const other = simulateTimes(programs, apart, { overlap: barely });
    expect(other.stepMs).toBeCloseTo(plain.stepMs, 6);
    for (const [rank, times] of plain.times.entries()) {
      for (const [index, time] of times.entries()) expect(other.times[rank]![index]).toBeCloseTo(time, 6);
    }
  });

  test("never gets faster when something slows down", () => {
    const one = (slowdown: number): number =>
      simulateTimes(programs, duration, {
        overlap: { computeSlowdown: slowdown, communicationSlowdown: slowdown },
      }).stepMs;
    expect(one(1.5)).toBeGreaterThanOrEqual(simulateTimes(programs, duration).stepMs);
    expect(one(3)).toBeGreaterThanOrEqual(one(1.5));
  });
});

test("two ranks that only compute take the time of their own work", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 50 }), (ms) => {
      const { programs } = lower(model, uniformPlan(model, { ranks: 1, globalBatch: 8 }));
      const timeline = simulate(programs, () => ms);
      expect(timeline.stepMs).toBe(ms * programs[0]!.instructions.length);
      expect(timeline.spans).toHaveLength(programs[0]!.instructions.length);
      expect(timeline.source).toBe("predicted");
    }),
  );
});

test("computing and communicating at once take their slowdowns, and no longer than both last", () => {
  // Data parallel: the last reductions run beside nothing, earlier ones beside backward.
  const { programs } = lower(model, uniformPlan(model, { ranks: 2, globalBatch: 8 }));
  const at = programs[0]!.instructions.findIndex(({ label }) => label.phase === "reduce");
  const long: DurationOf = (program, index) => {
    if (program.instructions[index]!.op === "run") return 10;
    return index === at ? 8 : 0;
  };
  const overlap = { computeSlowdown: 1.25, communicationSlowdown: 2 };
  const { times } = simulateTimes(programs, long, { overlap });
  const [start, end] = [times[0]![2 * at]!, times[0]![2 * at + 1]!];
  // 8 ms at half speed beside 10 ms of computing at 4/5: 12.5 ms for the graph, in which 6.25 ms are communicated,
  // and the next graph runs beside the rest.
  expect(end - start).toBeCloseTo(16, 6);
  const beside = programs[0]!.instructions.findIndex(
    (one, index) => one.op === "run" && times[0]![2 * index]! >= start,
  );
  expect(times[0]![2 * beside + 1]! - times[0]![2 * beside]!).toBeCloseTo(12.5, 6);
});

test("gathers with factors of their own take these, and reductions theirs", () => {
  const plan = uniformPlan(model, { ranks: 2, globalBatch: 8, dataParallel: "zero3" });
  const { programs } = lower(model, plan);
  const { instructions } = programs[0]!;
  // One that is issued a visit ahead.
  const at = instructions.findIndex(
    ({ op, label }) => op === "allGather" && label.phase === "gather" && label.layer === 1,
  );
  const long: DurationOf = (program, index) => {
    if (program.instructions[index]!.op === "run") return 10;
    return index === at ? 8 : 0;
  };
  const stepMs = (gathers: { computeSlowdown: number; communicationSlowdown: number }): number => {
    const overlap = { computeSlowdown: 3, communicationSlowdown: 3, gathers };
    const { times } = simulateTimes(programs, long, { overlap });
    expect(times[0]![2 * at + 1]! - times[0]![2 * at]!).toBeCloseTo(8 * gathers.communicationSlowdown, 6);
    return times[0]!.reduce((most, ms) => Math.max(most, ms), 0);
  };
  const alone = instructions.filter(({ op }) => op === "run").length * 10;
  expect(stepMs({ computeSlowdown: 1, communicationSlowdown: 1 })).toBeCloseTo(alone, 6);
  // 8 ms at 1 / 1.25, beside computing at 1 / 1.5: a third of those 10 ms is lost.
  expect(stepMs({ computeSlowdown: 1.5, communicationSlowdown: 1.25 })).toBeCloseTo(alone + 10 / 3, 6);
});

test("reduce-scatters with factors of their own take these, all-reduces the others", () => {
  for (const [dataParallel, factor] of [
    ["zero2", 1.5],
    ["ddp", 3],
  ] as const) {
    const plan = uniformPlan(model, { ranks: 2, globalBatch: 8, dataParallel });
    const { programs } = lower(model, plan);
    const at = programs[0]!.instructions.findIndex(({ label }) => label.phase === "reduce");
    const long: DurationOf = (program, index) => {
      if (program.instructions[index]!.op === "run") return 10;
      return index === at ? 2 : 0;
    };
    const overlap = {
      computeSlowdown: 1,
      communicationSlowdown: 3,
      reductions: { computeSlowdown: 1, communicationSlowdown: 1.5 },
    };
    const { times } = simulateTimes(programs, long, { overlap });
    expect(times[0]![2 * at + 1]! - times[0]![2 * at]!).toBeCloseTo(2 * factor, 6);
  }
});

test("what is added up beside computing takes its time from it", () => {
  const { programs } = lower(
    model,
    uniformPlan(model, { ranks: 2, globalBatch: 8, microBatches: 2, dataParallel: "zero2" }),
  );
  const stepMs = (addMs: number, overlap?: Overlap): number =>
    simulateTimes(
      programs,
      (program, index) => {
        const instruction = program.instructions[index]!;
        if (instruction.op === "run") return 10;
        return addsBeside(instruction) ? addMs : 0;
      },
      { ...(overlap && { overlap }) },
    ).stepMs;
  const graphs = programs[0]!.instructions.filter(({ op }) => op === "run").length;
  const adding = programs[0]!.instructions.filter(addsBeside).length;
  expect(adding).toBeGreaterThan(0);
  const none = { computeSlowdown: 1, communicationSlowdown: 1 };
  expect(stepMs(2, none)).toBeCloseTo(10 * graphs + 2 * adding, 6);
  expect(stepMs(2)).toBeLessThan(10 * graphs + 2 * adding);
});

test("programs that wait for each other for ever are refused", () => {
  const { programs } = lower(model, PLANS["1F1B"]);
  const only = programs.map((program) => ({
    ...program,
    instructions: program.instructions
      .filter(({ op }) => program.rank === 1 || op !== "send")
      .map((one) => ({ ...one, waits: [] })),
  }));
  expect(() => simulate(only, duration)).toThrow(/deadlock/);
  expect(() =>
    simulateTimes(only, duration, { overlap: { computeSlowdown: 2, communicationSlowdown: 1 } }),
  ).toThrow(/deadlock/);
});
