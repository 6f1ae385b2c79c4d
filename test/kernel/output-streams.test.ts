import { expect, it } from "vitest";
import { OutputStreams } from "../../kernel/output-streams.js";

it("lets a cell's first write leave at once, right behind another cell's output, and gathers the rest", () => {
  const left: string[] = [];
  const streams = new OutputStreams<number>((name, text, parent) => left.push(`${parent} ${name}: ${text}`));
  streams.write("stdout", "a", 1);
  streams.write("stdout", "b", 1);
  streams.write("stdout", "c", 1);
  expect(left).toEqual(["1 stdout: a"]);
  streams.write("stdout", "first", 2);
  expect(left).toEqual(["1 stdout: a", "1 stdout: bc", "2 stdout: first"]);
  streams.write("stdout", "d", 2);
  expect(left.length).toBe(3);
  streams.flush();
  expect(left.at(-1)).toBe("2 stdout: d");
});
