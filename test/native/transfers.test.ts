import { afterEach, expect, test } from "vitest";
import { bytesOf, draftProgram, valuesOf } from "../support/native-program.js";
import { type NativeRanks, startNativeRanks } from "../support/native-ranks.js";

let opened: NativeRanks | undefined;
afterEach(async () => {
  await opened?.close();
  opened = undefined;
});

/** Larger than both rooms of a channel, so that a send cannot end before its receive began. */
const ELEMENTS = 50_000;

/**
 * A pipeline under 1F1B: stage s runs `stages - s` forwards ahead. Forward adds 1, backward doubles, so micro-batch m
 * comes back to the first stage as a number that only the right order of messages gives.
 */
function pipelineProgram(rank: number, stages: number, microBatches: number) {
  const draft = draftProgram(rank);
  const last = rank === stages - 1;
  const activations = Array.from({ length: microBatches }, () => draft.tensor("float32", [ELEMENTS]));
  const outputs = Array.from({ length: microBatches }, () => draft.tensor("float32", [ELEMENTS]));
  const gradients = Array.from({ length: microBatches }, () => draft.tensor("float32", [ELEMENTS]));
  const ones = draft.tensor("float32", [ELEMENTS]);
  draft.add({ op: "fill", value: 1, output: ones });

  const forward = (m: number): void => {
    const waits: number[] = [];
    if (rank > 0)
      waits.push(draft.add({ op: "receive", peer: rank - 1, tensor: activations[m]! }, "activationsIn"));
    draft.add({ op: "copy", input: activations[m]!, output: outputs[m]! }, "compute", waits);
    const done = draft.add({ op: "accumulate", input: ones, output: outputs[m]! });
    if (!last) draft.add({ op: "send", peer: rank + 1, tensor: outputs[m]! }, "activationsOut", [done]);
  };
  const backward = (m: number): void => {
    const waits: number[] = [];
    if (last) draft.add({ op: "copy", input: outputs[m]!, output: gradients[m]! });
    else waits.push(draft.add({ op: "receive", peer: rank + 1, tensor: gradients[m]! }, "gradientsIn"));
    const done = draft.add(
      { op: "accumulate", input: gradients[m]!, output: gradients[m]! },
      "compute",
      waits,
    );
    if (rank > 0) draft.add({ op: "send", peer: rank - 1, tensor: gradients[m]! }, "gradientsOut", [done]);
  };

  const ahead = Math.min(stages - rank - 1, microBatches);
  for (let m = 0; m < ahead; m++) forward(m);
  for (let m = 0; m < microBatches; m++) {
    if (m + ahead < microBatches) forward(m + ahead);
    backward(m);
  }
  return { program: draft.build(), inputs: activations, results: gradients };
}

test.each([
  [2, 4],
  [3, 6],
  [4, 3],
])(
  "1F1B over %i stages and %i micro-batches ends, and every message finds its place",
  async (stages, microBatches) => {
    opened = await startNativeRanks({ ranks: stages, bytesPerRank: 2 ** 18 });
    const pipelines = Array.from({ length: stages }, (_, rank) =>
      pipelineProgram(rank, stages, microBatches),
    );
    await opened.load(pipelines.map(({ program }) => program));
    for (let step = 0; step < 3; step++) {
      for (const [m, tensor] of pipelines[0]!.inputs.entries())
        await opened.ranks[0]!.write(
          tensor,
          bytesOf(
            "float32",
            Float32Array.from({ length: ELEMENTS }, (_, i) => (i % 5) + 10 * m + step),
          ),
        );
      const times = await opened.step();
      for (const [rank, { instructionsMs }] of times.entries()) {
        expect(instructionsMs.length).toBe(2 * pipelines[rank]!.program.instructions.length);
        expect(Array.from(instructionsMs).every((ms) => ms >= 0)).toBe(true);
      }
      for (const [m, tensor] of pipelines[0]!.results.entries()) {
        const values = valuesOf("float32", await opened.ranks[0]!.read(tensor));
        const wrong = values.findIndex((got, i) => got !== 2 ** stages * ((i % 5) + 10 * m + step + stages));
        expect({ step, m, wrong }).toEqual({ step, m, wrong: -1 });
      }
    }
  },
);

test("an instruction starts after those it waits for on other streams have ended", async () => {
  opened = await startNativeRanks({ ranks: 2 });
  const programs = [0, 1].map((rank) => {
    const draft = draftProgram(rank);
    const x = draft.tensor("float32", [ELEMENTS]);
    const first = draft.add({ op: "fill", value: 2, output: x }, "reduce");
    const second = draft.add({ op: "accumulate", input: x, output: x }, "gather", [first]);
    draft.add({ op: "accumulate", input: x, output: x }, "compute", [first, second]);
    return draft.build();
  });
  await opened.load(programs);
  for (let i = 0; i < 20; i++) {
    for (const { instructionsMs: ms } of await opened.step()) {
      expect(ms[2]!).toBeGreaterThanOrEqual(ms[1]!);
      expect(ms[4]!).toBeGreaterThanOrEqual(ms[3]!);
    }
    expect(valuesOf("float32", await opened.ranks[0]!.read(0))[ELEMENTS - 1]).toBe(8);
  }
});
