import {
  appendFileSync,
  cpSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { modelSpec } from "../../../src/families/registry.js";
import { uniformPlan } from "../../../src/plan/uniform.js";
import { readManifest } from "../../../src/runtime/checkpoint/checkpoint-folder.js";
import { type CheckpointManifest, parseManifest } from "../../../src/runtime/checkpoint/manifest-json.js";
import { verifyFile } from "../../../src/runtime/checkpoint/stored-states.js";
import { compilePlan } from "../../../src/runtime/compile-plan.js";
import { openHostPool } from "../../../src/runtime/coordinator/host-pool.js";
import type { StoredCheckpoint, WorkerPool } from "../../../src/runtime/coordinator/worker-pool.js";
import { trainPlan } from "../../support/train-plan.js";

const model = modelSpec("gpt", { layers: 1, hidden: 8, heads: 2, sequence: 4, vocabulary: 11 });
const plan = uniformPlan(model, { ranks: 2, globalBatch: 4, dataParallel: "zero3" });

let pool: WorkerPool;
let folder: string;
let whole: string;
let manifest: CheckpointManifest;
/** A copy to damage. */
let copy: string;

beforeAll(async () => {
  pool = await openHostPool(2, 1);
  folder = mkdtempSync(join(tmpdir(), "galvatron-damaged-"));
  copy = join(folder, "copy");
  const report = await trainPlan(pool, model, plan, {
    steps: 2,
    checkpoints: { folder: join(folder, "run") },
  });
  whole = report.checkpoints[0]!.path;
  manifest = readManifest(whole);
});
afterAll(async () => {
  await pool.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  rmSync(copy, { recursive: true, force: true });
  cpSync(whole, copy, { recursive: true });
});

const refused = (name: string): object =>
  expect.objectContaining({ code: "CHECKPOINT_INVALID", message: expect.stringContaining(join(copy, name)) });

describe("a shard", () => {
  it("cut off at any border of its contents is named", () => {
    for (const { name, sizeBytes, blocks } of manifest.files) {
      const borders = [0, 8, sizeBytes, ...blocks.map((block) => block.offsetBytes)];
      const cuts = new Set(borders.flatMap((at) => [at - 1, at, at + 1]));
      for (const cut of [...cuts].filter((at) => at >= 0 && at < sizeBytes)) {
        cpSync(join(whole, name), join(copy, name));
        truncateSync(join(copy, name), cut);
        expect(() => readManifest(copy), `${cut} of ${sizeBytes} bytes`).toThrow(refused(name));
      }
      cpSync(join(whole, name), join(copy, name));
    }
    expect(readManifest(copy)).toEqual(manifest);
  });

  it("that is longer than it was, or gone, is named", () => {
    const [first, second] = manifest.files;
    appendFileSync(join(copy, first!.name), "x");
    expect(() => readManifest(copy)).toThrow(refused(first!.name));
    cpSync(join(whole, first!.name), join(copy, first!.name));
    rmSync(join(copy, second!.name));
    expect(() => readManifest(copy)).toThrow(refused(second!.name));
  });

  it("with one bit changed is named, wherever the bit is", async () => {
    for (const file of manifest.files) {
      const bytes = readFileSync(join(whole, file.name));
      const places = [0, 9, ...file.blocks.flatMap(({ offsetBytes }) => [offsetBytes - 1, offsetBytes])];
      for (const place of [...places, file.sizeBytes - 1]) {
        bytes[place]! ^= 4;
        writeFileSync(join(copy, file.name), bytes);
        bytes[place]! ^= 4;
        await expect(verifyFile(copy, file)).rejects.toEqual(refused(file.name));
      }
      writeFileSync(join(copy, file.name), bytes);
      await verifyFile(copy, file);
    }
  });

  it("with one bit changed is not loaded by the ranks", async () => {
    const { name, sizeBytes } = manifest.files[1]!;
    const bytes = readFileSync(join(whole, name));
    bytes[sizeBytes - 3]! ^= 1;
    writeFileSync(join(copy, name), bytes);
    const { programs, graphs } = compilePlan(model, plan);
    const restore: StoredCheckpoint = { path: copy, files: manifest.files };
    const load = pool.load({ programs, graphs, seed: null, feed: null, firstStep: 2, restore });
    await expect(load).rejects.toEqual(refused(name));
    await pool.load({
      programs,
      graphs,
      seed: null,
      feed: null,
      firstStep: 2,
      restore: { ...restore, path: whole },
    });
  });
});

describe("the manifest", () => {
  it("cut off at any byte is refused", () => {
    const text = readFileSync(join(whole, "manifest.json"), "utf8").trimEnd();
    for (let end = 0; end < text.length; end++)
      expect(() => parseManifest(text.slice(0, end), join(copy, "manifest.json")), `${end}`).toThrow(
        refused("manifest.json"),
      );
  });

  it("with any byte changed is refused, or means the same", () => {
    const bytes = readFileSync(join(whole, "manifest.json"));
    let refusals = 0;
    for (let place = 0; place < bytes.length; place++) {
      bytes[place]! ^= 1;
      const text = bytes.toString("latin1");
      bytes[place]! ^= 1;
      try {
        expect(parseManifest(text, "manifest.json"), `byte ${place}`).toEqual(manifest);
      } catch (error) {
        expect(error).toMatchObject({ code: "CHECKPOINT_INVALID" });
        refusals++;
      }
    }
    expect(refusals).toBeGreaterThan(0.95 * bytes.length);
  });

  it("of a later version, or of something else, says so", () => {
    const text = readFileSync(join(whole, "manifest.json"), "utf8");
    expect(() => parseManifest(text.replace('"version": 1', '"version": 2'), "m")).toThrow(
      /version 2; this release/,
    );
    expect(() => parseManifest("{}", "m")).toThrow(/no checkpoint manifest/);
    expect(() => parseManifest("[1]", "m")).toThrow(/no checkpoint manifest/);
  });
});
