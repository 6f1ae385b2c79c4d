import { expect, test } from "vitest";
import { slowestMs, type Timed, usualMs } from "../../src/profiler/measure-steps.js";

/** Instructions one after another, `pauseMs` between them. */
function step(durationsMs: readonly number[], pauseMs = 0): Timed {
  const times: number[] = [];
  let at = 0;
  for (const ms of durationsMs) {
    times.push(at, at + ms);
    at += ms + pauseMs;
  }
  return { instructionsMs: Float64Array.from(times) };
}

const RANKS = [step([1, 9, 4, 5]), step([2, 9, 3, 5]), step([4, 9, 1, 5]), step([2, 9, 2, 5])];

test("ranks that meet once a step wait for the one that takes longest in all", () => {
  expect(slowestMs([RANKS], [0, 2], 1)).toBe(5);
  expect(slowestMs([RANKS], [0], 1)).toBe(4);
});

test("ranks of a group wait for the slowest of each instruction, groups for the slowest group", () => {
  expect(slowestMs([RANKS], [0, 2], 2)).toBe(2 + 4);
  expect(slowestMs([RANKS], [0, 2], 4)).toBe(4 + 4);
});

test("is the mean over steps, short pauses counted and waits not", () => {
  expect(slowestMs([RANKS, RANKS.map(() => step([1, 1, 1, 1]))], [0, 2], 1)).toBe((5 + 2) / 2);
  expect(slowestMs([[step([1, 1, 1], 0.003)]], [0, 1, 2], 1)).toBeCloseTo(3.006, 12);
  expect(slowestMs([[step([1, 1, 1], 7)]], [0, 1], 1)).toBeCloseTo(2.04, 12);
});

test("on a host one disturbed step of three changes nothing, and the slowest rank still counts", () => {
  const disturbed = RANKS.map(() => step([100, 9, 100, 5]));
  expect(usualMs([RANKS, disturbed, RANKS], [0, 2], 1)).toBe(5);
  expect(usualMs([RANKS, disturbed, RANKS], [0, 2], 2)).toBe(6);
});
