import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dataOf } from "../../src/cli/data-flags.js";
import {
  arrays,
  columns,
  images,
  indexed,
  jsonl,
  synthetic,
  text,
} from "../../src/runtime/data/data-description.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "galvatron-flags-"));
  mkdirSync(join(folder, "zoo", "ape"), { recursive: true });
  writeFileSync(join(folder, "zoo", "ape", "x.png"), "");
  mkdirSync(join(folder, "books"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("--data", () => {
  it.each([
    [{ data: "src/**/*.ts" }, text("src/**/*.ts")],
    [{ data: "books" }, text("books")],
    [{ data: "nowhere" }, text("nowhere")],
    [
      { data: "a.txt", tokenizer: "t.json", "held-out": "0.1" },
      text("a.txt", { tokenizer: "t.json", heldOut: 0.1 }),
    ],
    [{ data: "a/*.jsonl", field: "body" }, jsonl("a/*.jsonl", { field: "body" })],
    [{ data: "a.parquet" }, columns("a.parquet")],
    [{ data: "a.arrow", field: "ids" }, columns("a.arrow", { column: "ids" })],
    [{ data: "books.idx" }, indexed("books")],
    [{ data: "books.bin", tokenizer: "t.json" }, indexed("books", { tokenizer: "t.json" })],
    [{ data: "zoo" }, images("zoo")],
    [{ data: "x.npy", labels: "y.npy" }, arrays({ images: "x.npy", labels: "y.npy" })],
    [{ synthetic: true }, synthetic()],
  ])("%o", (flags, expected) => {
    expect(dataOf(flags, folder)).toEqual(expected);
  });

  it.each([
    [{}, /--data/],
    [{ data: "x.npy" }, /--labels/],
    [{ data: "a.txt", labels: "y.npy" }, /--labels says nothing about/],
    [{ data: "a.txt", field: "body" }, /--field says nothing about/],
    [{ data: "zoo", tokenizer: "t.json" }, /--tokenizer says nothing about images/],
    [{ data: "a.txt", "held-out": "2" }, /up to, not including, 1/],
  ])("refuses %o in words", (flags, message) => {
    expect(() => dataOf(flags, folder)).toThrow(message);
  });
});
