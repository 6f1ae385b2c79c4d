import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tableFromArrays, tableToIPC } from "apache-arrow";
import fc from "fast-check";
import { encode as encodePng } from "fast-png";
import { parquetWriteFile } from "hyparquet-writer";
import { encode as encodeJpeg } from "jpeg-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modelSpec } from "../../../src/families/registry.js";
import type { ModelSpec } from "../../../src/model/model-spec.js";
import { readExamples } from "../../../src/runtime/data/batch.js";
import {
  arrays,
  columns,
  type DataDescription,
  images,
  indexed,
  jsonl,
  text,
} from "../../../src/runtime/data/data-description.js";
import type { Dataset } from "../../../src/runtime/data/dataset.js";
import { openExamples } from "../../../src/runtime/data/example-reader.js";
import { findData } from "../../../src/runtime/data/find-data.js";
import { indexBytes } from "../../../src/runtime/data/prepare/indexed-file.js";
import { npyHeader } from "../../../src/runtime/data/prepare/npy.js";
import { loadTokenizer } from "../../../src/runtime/data/prepare/tokenizer.js";
import { byteTokenizer } from "../../support/byte-tokenizer.js";

const gpt = modelSpec("gpt", { layers: 1, hidden: 8, heads: 1, sequence: 4, vocabulary: 512 });
const vit = modelSpec("vit", { layers: 1, hidden: 8, heads: 1, image: 4, patch: 2, classes: 3 });
const ALL = new Set(["tokens", "labels", "pixels"]);

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "galvatron-formats-"));
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(byteTokenizer()));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const put = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(folder, name), content);
  return name;
};
const prepare = async (data: DataDescription, model: ModelSpec = gpt): Promise<Dataset> =>
  await findData(data, model, 1, { folder, projectFolder: folder, stallMs: 5_000 }).prepare();

/** All tokens of a dataset, in the order of its files. */
async function tokensOf(data: DataDescription): Promise<readonly number[]> {
  const dataset = await prepare({ ...data, shuffle: false } as DataDescription);
  const reader = openExamples(dataset);
  const tokens: number[] = [];
  for (let i = 0; i < dataset.parts[0]!.samples; i++) tokens.push(...(await reader.train(i, ALL)).tokens!);
  reader.close();
  return tokens;
}
const firstOf = (all: readonly number[]): readonly number[] =>
  all.slice(0, 4 * Math.floor((all.length - 1) / 4));
const bytesOf = (said: string): readonly number[] => [...Buffer.from(said, "utf8")];

describe("text of every kind becomes the same tokens", () => {
  const documents = ["the thing in the end", "then", "", "Ünïcode — the end"];

  it("bytes, documents apart by a line's end", async () => {
    const expected = firstOf(bytesOf(documents.map((document) => `${document}\n`).join("")));
    put("d.jsonl", documents.map((document) => JSON.stringify({ id: 1, body: document })).join("\n\n"));
    put("d.arrow", tableToIPC(tableFromArrays({ body: documents }), "file"));
    put("d.stream.arrow", tableToIPC(tableFromArrays({ body: documents }), "stream"));
    parquetWriteFile({
      filename: join(folder, "d.parquet"),
      columnData: [{ name: "body", data: documents }],
    });
    expect(await tokensOf(jsonl("d.jsonl", { field: "body" }))).toEqual(expected);
    for (const name of ["d.arrow", "d.stream.arrow", "d.parquet"])
      expect(await tokensOf(columns(name, { column: "body" }))).toEqual(expected);
  });

  it("tokens of a tokenizer.json, documents closed by its end token", async () => {
    const tokenizer = "tokenizer.json";
    const { encode, meaning } = loadTokenizer(join(folder, tokenizer));
    const expected = firstOf(documents.flatMap((document) => [...encode(document), meaning.end!]));
    expect(expected.some((token) => token >= 256)).toBe(true);
    expect(await tokensOf(jsonl("d.jsonl", { field: "body", tokenizer }))).toEqual(expected);
    expect(await tokensOf(columns("d.parquet", { column: "body", tokenizer }))).toEqual(expected);
    for (const [i, document] of documents.entries()) put(`d${i}.txt`, document);
    expect(await tokensOf(text("d[0-9].txt", { tokenizer }))).toEqual(expected);
  });

  it("cuts long texts at lines' ends, which changes no token", async () => {
    const long = "the thing in the end\n".repeat(20_000);
    put("long.txt", long);
    const { encode, meaning } = loadTokenizer(join(folder, "tokenizer.json"));
    const line = encode("the thing in the end\n");
    const expected = firstOf([...Array.from({ length: 20_000 }, () => line).flat(), meaning.end!]);
    expect(await tokensOf(text("long.txt", { tokenizer: "tokenizer.json" }))).toEqual(expected);
  });

  it("lists of tokens as they are", async () => {
    const lists = [[5, 300, 7], [], [9, 511], [1, 2, 3, 4, 5]];
    put("t.jsonl", lists.map((ids) => JSON.stringify({ text: ids })).join("\n"));
    expect(await tokensOf(jsonl("t.jsonl"))).toEqual(firstOf(lists.flat()));
  });

  it("prepares once: the second run finds what the first one wrote", async () => {
    const place = join(folder, ".galvatron", "data");
    const before = readdirSync(place).sort();
    await prepare(jsonl("d.jsonl", { field: "body" }));
    expect(readdirSync(place).sort()).toEqual(before);
    put("d.jsonl", `${JSON.stringify({ body: "other text, another file" })}\n`);
    expect(await tokensOf(jsonl("d.jsonl", { field: "body" }))).toEqual(
      firstOf(bytesOf("other text, another file\n")),
    );
    expect(readdirSync(place).length).toBe(before.length + 2);
  });
});

describe("Megatron indexed datasets", () => {
  const write = (
    name: string,
    type: "uint16" | "int32",
    documents: readonly (readonly number[])[],
  ): string => {
    const flat = documents.flat();
    const array = type === "uint16" ? Uint16Array.from(flat) : Int32Array.from(flat);
    put(`${name}.bin`, new Uint8Array(array.buffer));
    put(
      `${name}.idx`,
      indexBytes(
        type,
        documents.map((document) => document.length),
      ),
    );
    return name;
  };

  it("reads both token widths", async () => {
    const documents = [[1, 2, 3], [500], [4, 5, 6, 7, 8, 9]];
    for (const type of ["uint16", "int32"] as const)
      expect(await tokensOf(indexed(write(`m-${type}`, type, documents)))).toEqual(firstOf(documents.flat()));
  });

  it("reads the bytes that the format's description says, written by hand", async () => {
    const index = Buffer.concat([
      Buffer.from("MMIDIDX\0\0", "latin1"),
      Buffer.from("0100000000000000", "hex"), // version
      Buffer.from("08", "hex"), // uint16
      Buffer.from("02000000000000000300000000000000", "hex"), // 2 sequences, 3 document borders
      Buffer.from("0300000006000000", "hex"), // lengths
      Buffer.from("00000000000000000600000000000000", "hex"), // where they start
      Buffer.from("000000000000000001000000000000000200000000000000", "hex"), // first sequence of each document
    ]);
    put("hand.idx", index);
    put("hand.bin", new Uint8Array(Uint16Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9).buffer));
    expect(await tokensOf(indexed("hand.idx"))).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(indexBytes("uint16", [3, 6])).toEqual(index);
  });

  it("blends several by their weights, the same way every time", async () => {
    write("a", "uint16", [Array.from({ length: 401 }, () => 1)]);
    write("b", "int32", [Array.from({ length: 201 }, () => 2)]);
    const read = async (): Promise<readonly number[]> => {
      const reader = openExamples(await prepare(indexed({ a: 3, b: 1 })));
      const seen: number[] = [];
      for (let place = 0; place < 400; place++) seen.push((await reader.train(place, ALL)).tokens![0]!);
      reader.close();
      return seen;
    };
    const seen = await read();
    expect(seen.filter((token) => token === 2)).toHaveLength(100);
    expect(await read()).toEqual(seen);
  });

  it("refuses what does not fit together, and tokens beyond the vocabulary", async () => {
    write("c", "uint16", [[1, 2, 3, 4, 5, 6]]);
    truncateSync(join(folder, "c.bin"), 10);
    await expect(prepare(indexed("c"))).rejects.toThrow(
      /c.bin has 10 bytes; its index counts 6 tokens of uint16, which are 12/,
    );
    await expect(prepare(indexed("missing"))).rejects.toThrow(/Cannot read .*missing.idx/);
    const dataset = await prepare(indexed(write("big", "uint16", [[1, 2, 3, 4, 5, 600, 7, 8, 9]])));
    const reader = openExamples(dataset);
    await expect(Promise.all([0, 1].map((place) => reader.train(place, ALL)))).rejects.toThrow(
      /big.bin holds token 600; the model's vocabulary has 512/,
    );
    reader.close();
    expect(() => indexed({ a: 0 })).toThrow(/weight above 0/);
  });
});

describe("images", () => {
  // Pixel (y, x) of image n is 16 n + 4 y + x.
  const grey = (n: number): Uint8Array => Uint8Array.from({ length: 16 }, (_, i) => 16 * n + i);
  /** Patches of 2 × 2, row by row, scaled to [-1, 1]. */
  const patched = (n: number): Float32Array =>
    Float32Array.from(
      [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15],
      (i) => ((16 * n + i) / 255 - 0.5) / 0.5,
    );
  const near = (actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-6): void => {
    expect(actual.length).toBe(expected.length);
    for (let i = 0; i < expected.length; i++)
      expect(Math.abs(actual[i]! - expected[i]!)).toBeLessThan(tolerance);
  };

  it("decodes a folder's PNGs, a class a subfolder, in alphabetical order", async () => {
    for (const [label, name] of ["ape", "bee", "cat"].entries()) {
      mkdirSync(join(folder, "zoo", name), { recursive: true });
      put(
        join("zoo", name, "x.png"),
        encodePng({ width: 4, height: 4, channels: 1, depth: 8, data: grey(label) }),
      );
    }
    put(join("zoo", ".hidden"), "");
    const reader = openExamples(await prepare(images("zoo", { shuffle: false }), vit));
    for (const label of [0, 1, 2]) {
      const { pixels, labels } = await reader.train(label, ALL);
      expect([...labels!]).toEqual([label]);
      near(pixels!, patched(label));
    }
    expect(await reader.train(1, new Set(["labels"]))).toEqual({ labels: Int32Array.of(1) });
    reader.close();
  });

  it("brings sizes, depths, palettes, colours and JPEGs to what the model reads", async () => {
    const place = join(folder, "mixed", "only");
    mkdirSync(place, { recursive: true });
    const twice = Uint8Array.from({ length: 64 }, (_, i) => 4 * Math.floor(i / 16) + Math.floor((i % 8) / 2));
    writeFileSync(
      join(place, "a.png"),
      encodePng({ width: 8, height: 8, channels: 1, depth: 8, data: twice }),
    );
    writeFileSync(
      join(place, "b.png"),
      encodePng({
        width: 4,
        height: 4,
        channels: 1,
        depth: 16,
        data: Uint16Array.from(grey(0), (v) => 257 * v),
      }),
    );
    const rgb = Uint8Array.from({ length: 48 }, (_, i) => Math.floor(i / 3));
    writeFileSync(join(place, "c.png"), encodePng({ width: 4, height: 4, channels: 3, depth: 8, data: rgb }));
    const wide = Uint8Array.from({ length: 32 }, (_, i) =>
      i % 8 < 2 || i % 8 > 5 ? 200 : 4 * Math.floor(i / 8) + (i % 8) - 2,
    );
    writeFileSync(
      join(place, "d.png"),
      encodePng({ width: 8, height: 4, channels: 1, depth: 8, data: wide }),
    );
    const flat = { width: 16, height: 16, data: new Uint8Array(1024).fill(128) };
    writeFileSync(join(place, "e.jpg"), encodeJpeg(flat, 95).data);
    const reader = openExamples(await prepare(images("mixed", { shuffle: false }), vit));
    const expected = patched(0);
    // Made smaller, each pixel is a mean with its neighbours: only the middle of the scale stays.
    const small = Float32Array.from((await reader.train(0, ALL)).pixels!);
    near(
      [small.reduce((sum, value) => sum + value, 0) / 16],
      [expected.reduce((sum, value) => sum + value, 0) / 16],
      0.01,
    );
    for (const i of [1, 2, 3]) near((await reader.train(i, ALL)).pixels!, expected, 1e-5);
    near((await reader.train(4, ALL)).pixels!, new Float32Array(16).fill((128 / 255 - 0.5) / 0.5), 0.02);
    reader.close();
  });

  it("reads arrays: bytes and floats, channels first and last, and tables", async () => {
    const three = modelSpec("vit", {
      layers: 1,
      hidden: 8,
      heads: 1,
      image: 4,
      patch: 2,
      classes: 3,
      channels: 3,
    });
    put("y.npy", Buffer.concat([npyHeader("int32", [2]), new Uint8Array(Int32Array.of(2, 0).buffer)]));
    put("x.npy", Buffer.concat([npyHeader("uint8", [2, 4, 4]), grey(0), grey(1)]));
    const pixelsOf = async (data: DataDescription, model: ModelSpec): Promise<ArrayLike<number>> => {
      const reader = openExamples(await prepare({ ...data, shuffle: false } as DataDescription, model));
      const { pixels, labels } = await reader.train(1, ALL);
      expect([...labels!]).toEqual([0]);
      reader.close();
      return pixels!;
    };
    near(await pixelsOf(arrays({ images: "x.npy", labels: "y.npy" }), vit), patched(1));
    const floats = Float32Array.from([...grey(0), ...grey(1)], (value) => (value / 255 - 0.5) / 0.5);
    put("f.npy", Buffer.concat([npyHeader("float32", [2, 4, 4]), new Uint8Array(floats.buffer)]));
    near(await pixelsOf(arrays({ images: "f.npy", labels: "y.npy" }), vit), patched(1));
    const planes = [0, 1].flatMap((n) =>
      [0, 1, 2].flatMap((channel) => [...grey(n)].map((value) => value + 50 * channel)),
    );
    const last = [0, 1].flatMap((n) => [...grey(n)].flatMap((value) => [value, value + 50, value + 100]));
    put("first.npy", Buffer.concat([npyHeader("uint8", [2, 3, 4, 4]), Uint8Array.from(planes)]));
    put("last.npy", Buffer.concat([npyHeader("uint8", [2, 4, 4, 3]), Uint8Array.from(last)]));
    const ofFirst = await pixelsOf(arrays({ images: "first.npy", labels: "y.npy" }), three);
    near(ofFirst, await pixelsOf(arrays({ images: "last.npy", labels: "y.npy" }), three));
    // A patch's values in the order channel, row, column.
    near(
      Array.from(ofFirst).slice(0, 5),
      [16, 17, 20, 21, 66].map((value) => (value / 255 - 0.5) / 0.5),
    );
    parquetWriteFile({
      filename: join(folder, "digits.parquet"),
      columnData: [
        { name: "image", data: [[...grey(0)], [...grey(1)]], type: "JSON" },
        { name: "label", data: [2, 0], type: "INT32" },
      ],
    });
    near(await pixelsOf(arrays("digits.parquet"), vit), patched(1));
  });

  it("reads a rank's own samples and no other: the neighbour's broken image does not matter", async () => {
    mkdirSync(join(folder, "two", "a"), { recursive: true });
    put("two/a/1.png", encodePng({ width: 4, height: 4, channels: 1, depth: 8, data: grey(1) }));
    put("two/a/2.png", "no image at all");
    const dataset = await prepare(images("two", { shuffle: false }), vit);
    const reader = openExamples(dataset);
    const part = { firstPlace: 0, globalBatch: 2, microBatches: 1, samples: 1, microBatch: 0 };
    const [own] = await readExamples(reader, { ...part, firstSample: 0 }, ALL, false);
    near(own!["pixels"]!, patched(1));
    await expect(readExamples(reader, { ...part, firstSample: 1 }, ALL, false)).rejects.toThrow(
      /2.png is neither/,
    );
    // A last stage reads labels: it decodes nothing.
    const labels = await readExamples(reader, { ...part, firstSample: 1 }, new Set(["labels"]), false);
    expect(labels).toEqual([{ labels: Int32Array.of(0) }]);
    reader.close();
  });

  it("moves images to train on, otherwise in every epoch, and held-out ones never", async () => {
    const moved = await prepare(images("zoo", { shift: 1, heldOut: 0.3, shuffle: false }), vit);
    const reader = openExamples(moved);
    const seen = new Set<string>();
    // Two samples train: every other place is the first again.
    for (let place = 0; place < 80; place += 2) seen.add((await reader.train(place, ALL)).pixels!.join());
    expect(seen.size).toBe(9);
    const held = (await reader.heldOut(0, ALL))!;
    near(held["pixels"]!, patched(held["labels"]![0]!));
    reader.close();
  });

  it("refuses in words", async () => {
    await expect(prepare(images("zoo"), gpt)).rejects.toThrow(/gpt learns text, this data is images/);
    await expect(prepare(images("zoo"), { ...vit, vocabulary: 2 })).rejects.toThrow(
      /3 classes \(subfolders\), the model 2/,
    );
    mkdirSync(join(folder, "bad", "one"), { recursive: true });
    await expect(prepare(images("bad"), vit)).rejects.toThrow(/class one has no images/);
    put(join("bad", "one", "notes.txt"), "hello");
    await expect(prepare(images("bad"), vit)).rejects.toThrow(/one.notes.txt is neither a PNG nor a JPEG/);
    put("y3.npy", Buffer.concat([npyHeader("int32", [3]), new Uint8Array(12)]));
    await expect(prepare(arrays({ images: "x.npy", labels: "y3.npy" }), vit)).rejects.toThrow(
      /y3.npy has 3 labels/,
    );
    put("y9.npy", Buffer.concat([npyHeader("int32", [2]), new Uint8Array(Int32Array.of(9, 9).buffer)]));
    const reader = openExamples(await prepare(arrays({ images: "x.npy", labels: "y9.npy" }), vit));
    await expect(reader.train(0, ALL)).rejects.toThrow(
      /Label \d of .*y9.npy is 9; the model has classes 0 to 2/,
    );
    reader.close();
  });
});

describe("broken files", () => {
  /** Every kind, whole; `read` goes through all of it. */
  const kinds = async (): Promise<
    readonly { name: string; other?: string; data: DataDescription; model: ModelSpec }[]
  > => {
    const documents = ["the thing in the end, and some more of it", "then another"];
    put("w.jsonl", documents.map((said) => JSON.stringify({ text: said })).join("\n"));
    put("w.arrow", tableToIPC(tableFromArrays({ text: documents }), "file"));
    parquetWriteFile({
      filename: join(folder, "w.parquet"),
      columnData: [{ name: "text", data: documents }],
    });
    put("w.bin", new Uint8Array(Uint16Array.from({ length: 40 }, (_, i) => i).buffer));
    put("w.idx", indexBytes("uint16", [30, 10]));
    put("wx.npy", Buffer.concat([npyHeader("uint8", [2, 4, 4]), new Uint8Array(32)]));
    put("wy.npy", Buffer.concat([npyHeader("int32", [2]), new Uint8Array(8)]));
    mkdirSync(join(folder, "w", "a"), { recursive: true });
    const noise = Uint8Array.from({ length: 3072 }, (_, i) => (i * 7919) % 251);
    put("w/a/i.png", encodePng({ width: 32, height: 32, channels: 3, depth: 8, data: noise }));
    mkdirSync(join(folder, "j", "a"), { recursive: true });
    put("j/a/i.jpg", encodeJpeg({ width: 32, height: 32, data: new Uint8Array(4096).fill(77) }, 90).data);
    put("w-tokenizer.json", JSON.stringify(byteTokenizer()));
    put("w.txt", documents.join("\n"));
    return [
      { name: "w.jsonl", data: jsonl("w.jsonl"), model: gpt },
      { name: "w.arrow", data: columns("w.arrow"), model: gpt },
      { name: "w.parquet", data: columns("w.parquet"), model: gpt },
      { name: "w.idx", data: indexed("w"), model: gpt },
      { name: "w.bin", data: indexed("w"), model: gpt },
      { name: "wx.npy", data: arrays({ images: "wx.npy", labels: "wy.npy" }), model: vit },
      { name: "wy.npy", data: arrays({ images: "wx.npy", labels: "wy.npy" }), model: vit },
      { name: "w/a/i.png", data: images("w"), model: vit },
      { name: "j/a/i.jpg", data: images("j"), model: vit },
      {
        name: "w-tokenizer.json",
        other: "w.txt",
        data: text("w.txt", { tokenizer: "w-tokenizer.json" }),
        model: gpt,
      },
    ];
  };

  const readAll = async (data: DataDescription, model: ModelSpec): Promise<void> => {
    const dataset = await prepare(data, model);
    const reader = openExamples(dataset);
    try {
      for (let i = 0; i < dataset.parts[0]!.samples; i++) await reader.train(i, ALL);
    } finally {
      reader.close();
    }
  };

  it("cut off anywhere or with changed bytes: read, or refused in words that name the file", {
    timeout: 300_000,
  }, async () => {
    const { readFileSync } = await import("node:fs");
    let refused = 0;
    let tried = 0;
    for (const { name, data, model } of await kinds()) {
      await readAll(data, model);
      const whole = readFileSync(join(folder, name));
      await fc.assert(
        fc.asyncProperty(
          fc.double({ min: 0, max: 0.999, noNaN: true }),
          fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
          async (share, changes) => {
            const broken = Buffer.from(whole);
            for (const [at, value] of changes) broken[at % broken.length] = value;
            put(name, changes.length > 0 ? broken : whole.subarray(0, Math.floor(share * whole.length)));
            tried++;
            const error: unknown = await readAll(data, model).then(
              () => null,
              (thrown: unknown) => thrown,
            );
            if (error === null) return;
            refused++;
            expect(error).toMatchObject({ isGalvatronError: true });
            expect(String(error)).toContain(
              name
                .split("/")
                .at(-1)!
                .replace(/\.(bin|idx)$/, ""),
            );
          },
        ),
        { numRuns: 25 },
      );
      // Cut to half, none is read as if it were whole, but lines of JSON may end anywhere.
      put(name, whole.subarray(0, Math.floor(whole.length / 2)));
      await expect(readAll(data, model), name).rejects.toMatchObject({ isGalvatronError: true });
      put(name, whole);
    }
    expect(refused / tried).toBeGreaterThan(0.3);
    expect(existsSync(join(folder, ".galvatron", "data"))).toBe(true);
    expect(readdirSync(join(folder, ".galvatron", "data")).filter((name) => name.endsWith(".tmp"))).toEqual(
      [],
    );
  });
});
