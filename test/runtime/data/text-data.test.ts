import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { firstPlaceOf, readBatch } from "../../../src/runtime/data/batch.js";
import { synthetic, text } from "../../../src/runtime/data/data-description.js";
import { globPattern } from "../../../src/runtime/data/glob.js";
import { resolveDataset } from "../../../src/runtime/data/resolve-dataset.js";
import { openSamples } from "../../../src/runtime/data/sample-reader.js";

const model = { name: "tiny", sequence: 8, vocabulary: 256 };
let folder: string;
const contents = [
  "first file, quite short. ",
  "the second — with a dash",
  "x",
  "and a last one that ends it all\n",
];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "galvatron-data-"));
  mkdirSync(join(folder, "deep", "er"), { recursive: true });
  writeFileSync(join(folder, "a.txt"), contents[0]!);
  writeFileSync(join(folder, "b.txt"), contents[1]!);
  writeFileSync(join(folder, "deep", "c.txt"), contents[2]!);
  writeFileSync(join(folder, "deep", "er", "d.txt"), contents[3]!);
  writeFileSync(join(folder, "deep", "er", "e.md"), "not this one");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("text data", () => {
  it("cuts the concatenated bytes of all files into samples, across file borders", async () => {
    const dataset = resolveDataset(text("**/*.txt", { shuffle: false }), model, 1, folder);
    const all = Buffer.from(contents.join(""), "utf8");
    if (dataset.format !== "text") throw new TypeError("expected text");
    expect(dataset.totalBytes).toBe(all.length);
    expect(dataset.samples).toBe(Math.floor((all.length - 1) / 8));
    const reader = openSamples(dataset);
    for (let i = 0; i < dataset.samples; i++)
      expect(Buffer.from(await reader.read(i))).toEqual(all.subarray(i * 8, i * 8 + 9));
    await reader.close();
  });

  it("reads with more files than it keeps open", async () => {
    const many = mkdtempSync(join(tmpdir(), "galvatron-many-"));
    for (let i = 0; i < 150; i++)
      writeFileSync(join(many, `${String(i).padStart(3, "0")}.txt`), `${i % 10}`.repeat(11));
    const dataset = resolveDataset(text(many), model, 3, many);
    const reader = openSamples(dataset);
    for (let place = 0; place < 206; place++) expect(await reader.read(place)).toHaveLength(9);
    await reader.close();
    rmSync(many, { recursive: true });
  });

  it("gives the data ranks of all micro-batches together the step's samples, each once", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 3 }),
        fc.nat(20),
        (microBatches, dataDegree, samples, step) => {
          const globalBatch = microBatches * dataDegree * samples;
          const places: number[] = [];
          for (let microBatch = 0; microBatch < microBatches; microBatch++)
            for (let dataRank = 0; dataRank < dataDegree; dataRank++) {
              const firstSample = dataRank * samples;
              const first = firstPlaceOf({
                step,
                globalBatch,
                microBatches,
                microBatch,
                firstSample,
                samples,
              });
              for (let i = 0; i < samples; i++) places.push(first + i);
            }
          expect(places).toEqual(Array.from({ length: globalBatch }, (_, i) => step * globalBatch + i));
        },
      ),
    );
  });

  it("lays batches out sequence first, labels one token ahead, and cuts rows", async () => {
    const dataset = resolveDataset(text("a.txt", { shuffle: false }), model, 1, folder);
    const reader = openSamples(dataset);
    const part = { step: 0, globalBatch: 2, microBatches: 1, microBatch: 0, firstSample: 0, samples: 2 };
    const whole = await readBatch(reader, part, { first: 0, count: 8 });
    const bytes = Buffer.from(contents[0]!, "utf8");
    for (let row = 0; row < 8; row++)
      for (let column = 0; column < 2; column++) {
        expect(whole.tokens[row * 2 + column]).toBe(BigInt(bytes[column * 8 + row]!));
        expect(whole.labels[row * 2 + column]).toBe(BigInt(bytes[column * 8 + row + 1]!));
      }
    const half = await readBatch(reader, part, { first: 4, count: 4 });
    expect(half.tokens).toEqual(whole.tokens.slice(8));
    await reader.close();
  });

  it("says what is wrong with the data", async () => {
    const resolve =
      (path: string, spec = model): (() => unknown) =>
      () =>
        resolveDataset(text(path), spec, 1, folder);
    expect(resolve("nowhere.txt")).toThrow(/No file or folder "nowhere.txt"/);
    expect(resolve("*.none")).toThrow(/No file matches/);
    expect(resolve("deep/c.txt")).toThrow(/hold 1 bytes; one sample of tiny needs 9/);
    expect(resolve("a.txt", { ...model, vocabulary: 100 })).toThrow(/vocabulary of at least 256/);
  });

  it("notices a file that became shorter", async () => {
    const path = join(folder, "shrinks.bin");
    writeFileSync(path, "0123456789".repeat(5));
    const dataset = resolveDataset(text(path, { shuffle: false }), model, 1, folder);
    truncateSync(path, 4);
    await expect(openSamples(dataset).read(2)).rejects.toThrow(/became shorter/);
    rmSync(path);
  });

  it("makes the same synthetic sample for a place, within the vocabulary", async () => {
    const dataset = resolveDataset(synthetic(), { ...model, vocabulary: 50 }, 5, folder);
    const once = await openSamples(dataset).read(12);
    expect(await openSamples(dataset).read(12)).toEqual(once);
    expect(Math.max(...once)).toBeLessThan(50);
    expect(await openSamples(dataset).read(13)).not.toEqual(once);
  });
});

describe("glob", () => {
  it.each([
    ["/a/*.ts", "/a/x.ts", true],
    ["/a/*.ts", "/a/b/x.ts", false],
    ["/a/**/*.ts", "/a/x.ts", true],
    ["/a/**/*.ts", "/a/b/c/x.ts", true],
    ["/a/**", "/a/b/c", true],
    ["/a/{x,y}.ts", "/a/y.ts", true],
    ["/a/?.ts", "/a/yy.ts", false],
    ["/a/[xy].ts", "/a/y.ts", true],
    ["/a.b/c", "/axb/c", false],
  ])("%s against %s: %s", (glob, path, matches) => {
    expect(globPattern(glob).test(path)).toBe(matches);
  });
});
