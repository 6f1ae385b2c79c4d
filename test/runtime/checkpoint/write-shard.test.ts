import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type ShardJob, writeShard } from "../../../src/runtime/checkpoint/write-shard.js";

const TENSORS = 6;
const ELEMENTS = 2 ** 18 + 3;
const TENSOR_BYTES = 4 * ELEMENTS;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "galvatron-shard-"));
});
// A write that was given up may still be ending, and ends only while this thread is free.
afterAll(() => rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));

const bytesOf = (tensor: number): Uint8Array =>
  new Uint8Array(Float32Array.from({ length: ELEMENTS }, (_, i) => tensor * 1e6 + i).buffer);

const jobOf = (name: string, copyBytes: number): ShardJob => ({
  path: join(folder, name),
  header: Buffer.from("begin"),
  // Of every tensor two parts, with a gap between them.
  parts: Array.from({ length: TENSORS }, (_, tensor) => [
    { tensor, offset: 1, elements: 5 },
    { tensor, offset: 9, elements: ELEMENTS - 9 },
  ]).flat(),
  copyBytes,
});

const expected = Buffer.concat([
  Buffer.from("begin"),
  ...Array.from({ length: TENSORS }, (_, tensor) => [
    bytesOf(tensor).subarray(4, 24),
    bytesOf(tensor).subarray(36),
  ]).flat(),
]);

it("writes what it copied, piece by piece, and says what that came to", async () => {
  const job = jobOf("whole", Number.MAX_SAFE_INTEGER);
  const reads: number[] = [];
  const { copied, written } = writeShard(async (tensor) => {
    reads.push(tensor);
    return bytesOf(tensor);
  }, job);
  await copied;
  expect(reads).toEqual([0, 1, 2, 3, 4, 5]);
  expect(statSync(job.path).size).toBeLessThan(expected.byteLength);
  const { sizeBytes, sha256 } = await written;
  expect(readFileSync(job.path).equals(expected)).toBe(true);
  expect(sizeBytes).toBe(expected.byteLength);
  expect(sha256).toBe(createHash("sha256").update(expected).digest("hex"));
});

it("copies no more than may wait: what does not fit is written first", async () => {
  const job = jobOf("limited", 2 * TENSOR_BYTES);
  let most = 0;
  const { copied, written } = writeShard(async (tensor) => {
    const onDisk = tensor === 0 ? 0 : statSync(job.path).size;
    most = Math.max(most, (tensor + 1) * TENSOR_BYTES - onDisk);
    return bytesOf(tensor);
  }, job);
  await copied;
  await written;
  expect(most).toBeGreaterThan(TENSOR_BYTES);
  // The gaps between parts are copied, but not on the disk.
  expect(most).toBeLessThanOrEqual(2 * TENSOR_BYTES + TENSORS * 16);
  expect(readFileSync(job.path).equals(expected)).toBe(true);
});

it("never writes over a file, and tells a failed read from a failed disk", async () => {
  const job = jobOf("whole", Number.MAX_SAFE_INTEGER);
  const taken = writeShard(async (tensor) => bytesOf(tensor), job);
  await expect(taken.written).rejects.toMatchObject({ code: "FILE_UNWRITABLE" });
  expect(readFileSync(job.path).equals(expected)).toBe(true);
  const broken = writeShard(async () => Promise.reject(new Error("the device is gone")), jobOf("broken", 1));
  await expect(broken.copied).rejects.toThrow("the device is gone");
  await expect(broken.written).rejects.toThrow("the device is gone");
});
