import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isGalvatronError } from "../../../src/base/errors.js";
import {
  headerBytes,
  parseSafetensorsHeader,
  safetensorsHeader,
} from "../../../src/runtime/weights/safetensors-json.js";
import { readHeader, storedWeights } from "../../../src/runtime/weights/weight-folder.js";
import { goldenModel, readGolden } from "../../graph/golden.js";
import { writeGoldenFolder } from "../../support/weight-folder.js";

const golden = readGolden("gpt2");
const model = goldenModel(golden, JSON.stringify(golden.config));
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "galvatron-folder-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function refused(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (isGalvatronError(error)) return `${error.code} ${error.message}`;
    throw error;
  }
  return "accepted";
}

/** The file with its header's JSON replaced. */
function withHeader(path: string, change: (header: Record<string, never>) => unknown): void {
  const bytes = readFileSync(path);
  const length = headerBytes(bytes.subarray(0, 8), path);
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<string, never>;
  const json = Buffer.from(JSON.stringify(change(header)));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(json.byteLength));
  writeFileSync(path, Buffer.concat([prefix, json, bytes.subarray(8 + length)]));
}

describe("safetensors", () => {
  it("writes a header that says where each tensor lies, aligned", () => {
    const tensors = [
      { name: "b", dtype: "BF16", shape: [3, 2] },
      { name: "a", dtype: "F32", shape: [] },
    ] as const;
    const { bytes, header } = safetensorsHeader(tensors, { format: "pt" });
    expect(bytes.byteLength % 8).toBe(0);
    const again = parseSafetensorsHeader(bytes.subarray(8), header.fileBytes, "x");
    expect(again).toEqual(header);
    expect(header.fileBytes - bytes.byteLength).toBe(12 + 4);
  });

  it("refuses every file cut short, and headers that lie", () => {
    const path = join(folder, "cut", "model.safetensors");
    writeGoldenFolder(join(folder, "cut"), golden);
    for (const bytes of [statSync(path).size - 1, 4000, 100, 7, 0]) {
      truncateSync(path, bytes);
      expect(
        refused(() => readHeader(path)),
        `${bytes} bytes`,
      ).toMatch(/^CHECKPOINT_INVALID .*model\.safetensors/);
    }
    const name = Object.keys(golden.shapes)[0]!;
    const lies: readonly ((header: Record<string, never>) => unknown)[] = [
      (header) => ({ ...header, [name]: { ...(header[name]! as object), shape: [1] } }),
      (header) => ({ ...header, [name]: { ...(header[name]! as object), dtype: "F128" } }),
      (header) => ({ ...header, [name]: { ...(header[name]! as object), data_offsets: [4, 0] } }),
      (header) => ({ ...header, another: header[name]! }),
      () => [],
    ];
    for (const lie of lies) {
      writeGoldenFolder(join(folder, "cut"), golden);
      withHeader(path, lie);
      expect(refused(() => readHeader(path))).toMatch(/^CHECKPOINT_INVALID /);
    }
  });
});

describe("a folder of weights", () => {
  it("of the bare model, with more than is needed, is enough", () => {
    const path = join(folder, "bare");
    writeGoldenFolder(path, golden);
    withHeader(join(path, "model.safetensors"), (header) =>
      Object.fromEntries(
        Object.entries(header).map(([name, field]) => [name.replace("transformer.", ""), field]),
      ),
    );
    expect(storedWeights(path, model).views.length).toBe(
      storedWeights(join(folder, "bare"), model).views.length,
    );
    const other = goldenModel(golden, JSON.stringify({ ...golden.config, n_layer: 1 }));
    expect(storedWeights(path, other).unused).toHaveLength(12);
  });

  it("of another model is refused by the tensor's name", () => {
    const path = join(folder, "other");
    writeGoldenFolder(path, golden, { files: 2 });
    const larger = (fields: object): string =>
      refused(() =>
        storedWeights(path, goldenModel(golden, JSON.stringify({ ...golden.config, ...fields }))),
      );
    expect(larger({ n_layer: 3 })).toMatch(/^CHECKPOINT_INVALID .*transformer\.h\.2\.ln_1\.weight/);
    expect(larger({ n_embd: 32 })).toMatch(
      /^CHECKPOINT_INVALID .*expected the shape \[19,32\], found \[19,16\]/,
    );
    rmSync(join(path, "model-2-of-2.safetensors"));
    expect(larger({})).toMatch(/^FILE_UNREADABLE .*model-2-of-2/);
  });
});
