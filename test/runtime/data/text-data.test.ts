import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modelSpec } from "../../../src/families/registry.js";
import { firstPlaceOf, layOut, readExamples } from "../../../src/runtime/data/batch.js";
import { type DataDescription, text } from "../../../src/runtime/data/data-description.js";
import type { Dataset } from "../../../src/runtime/data/dataset.js";
import { type ExampleReader, openExamples } from "../../../src/runtime/data/example-reader.js";
import { findData, syntheticDataset } from "../../../src/runtime/data/find-data.js";
import { globPattern } from "../../../src/runtime/data/glob.js";
import { valueShapes } from "../../../src/runtime/data/objectives/objective.js";

const model = modelSpec("gpt", { layers: 1, hidden: 8, heads: 1, sequence: 8, vocabulary: 256 });
const ALL = new Set(["tokens", "labels"]);
let folder: string;
const contents = [
  "first file, quite short. ",
  "the second — with a dash",
  "x",
  "and a last one that ends it all\n",
];

const resolve = (data: DataDescription, seed = 1, spec = model): Promise<Dataset> =>
  findData(data, spec, seed, { folder, projectFolder: folder }).prepare();

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
    const dataset = await resolve(text("**/*.txt", { shuffle: false }));
    const all = Buffer.from(contents.join(""), "utf8");
    const { samples } = dataset.parts[0]!;
    expect(samples).toBe(Math.floor((all.length - 1) / 8));
    const reader = openExamples(dataset);
    for (let i = 0; i < samples; i++) {
      const { tokens, labels } = await reader.train(i, ALL);
      expect(Buffer.from(tokens!)).toEqual(all.subarray(i * 8, i * 8 + 8));
      expect(Buffer.from(labels!)).toEqual(all.subarray(i * 8 + 1, i * 8 + 9));
    }
    reader.close();
  });

  it("reads with more files than it keeps mapped", async () => {
    const many = join(folder, "many");
    mkdirSync(many);
    for (let i = 0; i < 150; i++)
      writeFileSync(join(many, `${String(i).padStart(3, "0")}.dat`), `${i % 10}`.repeat(11));
    const reader = openExamples(await resolve(text(many, { shuffle: false })));
    const all = Buffer.from(Array.from({ length: 150 }, (_, i) => `${i % 10}`.repeat(11)).join(""));
    for (let place = 0; place < 206; place++)
      expect(Buffer.from((await reader.train(place, ALL)).tokens!)).toEqual(
        all.subarray(place * 8, place * 8 + 8),
      );
    reader.close();
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
                firstPlace: step * globalBatch,
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

  it("lays batches out sequence first, labels one token ahead", async () => {
    const dataset = await resolve(text("a.txt", { shuffle: false }));
    const reader = openExamples(dataset);
    const part = {
      firstPlace: 0,
      globalBatch: 2,
      microBatches: 1,
      microBatch: 0,
      firstSample: 0,
      samples: 2,
    };
    const examples = await readExamples(reader, part, ALL, false);
    const shapes = valueShapes(dataset.objective);
    const [tokens, labels] = ["tokens", "labels"].map((name) => layOut(examples, name, shapes[name]!));
    const bytes = Buffer.from(contents[0]!, "utf8");
    for (let row = 0; row < 8; row++)
      for (let column = 0; column < 2; column++) {
        expect(tokens![row * 2 + column]).toBe(BigInt(bytes[column * 8 + row]!));
        expect(labels![row * 2 + column]).toBe(BigInt(bytes[column * 8 + row + 1]!));
      }
    reader.close();
  });

  it("goes on at the exact sample: what a step reads depends on its number alone", async () => {
    const dataset = await resolve(text("**/*.txt"), 9);
    const batch = async (reader: ExampleReader, step: number): Promise<unknown> =>
      await readExamples(
        reader,
        { firstPlace: 4 * step, globalBatch: 4, microBatches: 1, microBatch: 0, firstSample: 0, samples: 4 },
        ALL,
        false,
      );
    const through = openExamples(dataset);
    const steps: unknown[] = [];
    for (let step = 0; step < 12; step++) steps.push(await batch(through, step));
    through.close();
    const resumed = openExamples(JSON.parse(JSON.stringify(dataset)) as Dataset);
    for (const step of [7, 8, 9, 10, 11, 2]) expect(await batch(resumed, step)).toEqual(steps[step]);
    resumed.close();
  });

  it("holds samples out: training never sees them, evaluation sees each once, whatever the seed", async () => {
    const heldOutOf = async (seed: number): Promise<{ trained: string[]; held: string[] }> => {
      const dataset = await resolve(text("**/*.txt", { heldOut: 0.3 }), seed);
      const { samples, heldOut } = dataset.parts[0]!;
      expect(samples + heldOut).toBe(10);
      expect(heldOut).toBe(3);
      const reader = openExamples(dataset);
      const textOf = async (i: number, held: boolean): Promise<string> =>
        Buffer.from((await (held ? reader.heldOut(i, ALL) : reader.train(i, ALL)))!.tokens!).toString(
          "latin1",
        );
      const read = (count: number, held: boolean): Promise<string[]> =>
        Promise.all(Array.from({ length: count }, (_, i) => textOf(i, held)));
      const [trained, held] = [await read(3 * samples, false), await read(heldOut, true)];
      expect(await reader.heldOut(heldOut, ALL)).toBeNull();
      reader.close();
      return { trained, held };
    };
    const [one, two] = [await heldOutOf(1), await heldOutOf(2)];
    expect(new Set([...one.trained, ...one.held]).size).toBe(10);
    expect(new Set(one.trained).size).toBe(7);
    expect(one.held).toEqual(two.held);
    expect(one.trained).not.toEqual(two.trained);
  });

  it("says what is wrong with the data", async () => {
    const refused =
      (data: DataDescription, spec = model): (() => unknown) =>
      () =>
        findData(data, spec, 1, { folder, projectFolder: folder });
    expect(refused(text("nowhere.txt"))).toThrow(/No file or folder "nowhere.txt"/);
    expect(refused(text("*.none"))).toThrow(/No file matches/);
    expect(refused(text("deep/c.txt"))).toThrow(/hold 1 tokens; one sample of gpt needs 9/);
    expect(refused(text("a.txt"), { ...model, vocabulary: 100 })).toThrow(/vocabulary of at least 256/);
    expect(refused(text("a.txt"), modelSpec("vit"))).toThrow(/vit learns images, this data is text/);
    expect(refused(text("a.txt", { heldOut: 0.9 }))).toThrow(/none is left to train on/);
    expect(() => text("a.txt", { heldOut: 1 })).toThrow(/up to, not including, 1/);
  });

  it("notices a file that became shorter, one that is another, and one that is gone", async () => {
    const path = join(folder, "shrinks.bin");
    writeFileSync(path, "0123456789".repeat(5));
    const dataset = await resolve(text(path, { shuffle: false }));
    const reader = openExamples(dataset);
    await reader.train(2, ALL);
    truncateSync(path, 4);
    await expect(reader.train(2, ALL)).rejects.toThrow(/shrinks.bin became shorter/);
    reader.close();
    writeFileSync(path, "another file under the name, and a longer one".repeat(5));
    await expect(openExamples(dataset).train(0, ALL)).rejects.toThrow(
      /shrinks.bin has 225 bytes; it had 50 when the run was planned/,
    );
    rmSync(path);
    await expect(openExamples(dataset).train(0, ALL)).rejects.toThrow(/Cannot read .*shrinks.bin/);
  });

  it("makes the same synthetic sample for a place, within the vocabulary", async () => {
    const reader = openExamples(syntheticDataset({ ...model, vocabulary: 50 }, 5));
    const once = await reader.train(12, ALL);
    expect(await reader.train(12, ALL)).toEqual(once);
    expect(Math.max(...once.tokens!)).toBeLessThan(50);
    expect(await reader.train(13, ALL)).not.toEqual(once);
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
