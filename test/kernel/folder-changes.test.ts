import { expect, it } from "vitest";
import { startKernel } from "./kernel-client.js";

it("files that come and go in the notebook's folder disturb no cell, and new packages are found", {
  timeout: 240_000,
}, async () => {
  const client = await startKernel();
  try {
    // Looked for in vain, so that the compiler watches the folders where it could appear.
    expect((await client.run('import { found } from "late-package"')).error?.evalue).toContain(
      "late-package",
    );
    const said: string[] = [];
    for (let round = 0; round < 3; round++) {
      const { stream, error } = await client.run(`import { mkdirSync, writeFileSync } from "node:fs";
for (let i = 0; i < 3; i++) {
  mkdirSync("node_modules/other-${round}-" + i, { recursive: true });
  writeFileSync("node_modules/other-${round}-" + i + "/index.js", "module.exports = 1");
  writeFileSync("note-${round}-" + i + ".txt", "x");
  await new Promise((resolve) => setTimeout(resolve, 400));
}`);
      expect(error).toBeUndefined();
      said.push(stream("stderr"));
    }
    expect(said.join("")).toBe("");
    await client.run(`mkdirSync("node_modules/late-package", { recursive: true });
writeFileSync("node_modules/late-package/package.json", '{ "name": "late-package", "main": "index.js", "types": "index.d.ts" }');
writeFileSync("node_modules/late-package/index.js", "exports.found = 42");
writeFileSync("node_modules/late-package/index.d.ts", "export declare const found: number;");
await new Promise((resolve) => setTimeout(resolve, 1000));`);
    const late = await client.run('import { found } from "late-package"; found');
    expect(late.error).toBeUndefined();
    expect(late.result?.["text/plain"]).toBe("42");
  } finally {
    await client.close();
  }
});
