import { expect, test } from "vitest";
import { layerJobs } from "../../src/profiler/layer-jobs.js";

const words = (device: string, ranks: number, samples: readonly number[]): readonly string[] =>
  layerJobs({ device, ranks }, ["decoder"], samples).map(
    ({ split, samples: count }) => `${count} ${split.tensorSplit}/${split.tensorDegree}`,
  );

test("a host measures every size of every split", () => {
  expect(words("cpu", 2, [1, 2, 4])).toEqual(
    [1, 2, 4].flatMap((count) => [`${count} weights/1`, `${count} weights/2`, `${count} sequence/2`]),
  );
});

test("a GPU measures a tensor group's fewest samples and the most of all its ranks", () => {
  expect(words("cuda", 4, [2, 4, 8])).toEqual([
    "2 weights/1",
    "2 weights/2",
    "2 sequence/2",
    "2 weights/4",
    "2 sequence/4",
    "4 weights/1",
    "8 weights/1",
    "16 weights/2",
    "16 sequence/2",
    "32 weights/4",
    "32 sequence/4",
  ]);
  expect(words("cuda", 2, [4])).toEqual(["4 weights/1", "8 weights/2", "8 sequence/2"]);
});
