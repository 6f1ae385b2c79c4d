// CPU time of reading a sample of 257 bytes at a random place of a file: mapped as ranks read it, and by positioned
// reads. Also of decoding an image.
//   node test/bench/mapped-reads.mjs [FILE]
import { openSync, readSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { createRequire } from "node:module";
import os from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { encode as encodePng } from "fast-png";
import { encode as encodeJpeg } from "jpeg-js";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const require = createRequire(join(root, "dist/src/index.js"));
const { MappedFiles } = require("./runtime/data/sources/mapped-files.js");
const { decodeImage } = require("./runtime/data/sources/decode-image.js");

const path = process.argv[2] ?? join(root, "node_modules/typescript/lib/typescript.js");
const file = { path, sizeBytes: statSync(path).size };
const sample = new Uint8Array(257);
const READS = 50_000;
const places = Array.from(
  { length: READS },
  (_, i) => (Math.imul(i, 0x9e3779b1) >>> 0) % (file.sizeBytes - 257),
);

async function cpuMicroseconds(count, work) {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return Number(((user + system) / count).toFixed(2));
}

const mapped = new MappedFiles();
const handle = await open(path);
const descriptor = openSync(path, "r");
const result = { cpu: os.cpus()[0].model, fileBytes: file.sizeBytes };
for (const round of ["first", "second"]) {
  result[`mapped, ${round} round`] = await cpuMicroseconds(READS, () => {
    for (const place of places) mapped.read(file, place, sample);
  });
  result[`readSync, ${round} round`] = await cpuMicroseconds(READS, () => {
    for (const place of places) readSync(descriptor, sample, 0, 257, place);
  });
  result[`FileHandle.read, ${round} round`] = await cpuMicroseconds(READS, async () => {
    for (const place of places) await handle.read(sample, 0, 257, place);
  });
}
mapped.close();
await handle.close();
const side = 224;
const data = Uint8Array.from({ length: side * side * 4 }, (_, i) => 128 + 100 * Math.sin(i / 50));
const jpeg = encodeJpeg({ width: side, height: side, data }, 90).data;
const png = encodePng({ width: side, height: side, channels: 4, depth: 8, data });
for (const [name, bytes] of Object.entries({ jpeg, png })) {
  for (let i = 0; i < 5; i++) decodeImage(bytes, name);
  result[`${name}, ${side} × ${side}`] = await cpuMicroseconds(20, () => {
    for (let i = 0; i < 20; i++) decodeImage(bytes, name);
  });
}
console.log(JSON.stringify(result, null, 1));
