import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import type TypeScript from "@tslab/typescript-for-tslab";
import { expect, it } from "vitest";

/**
 * Notebook cells are compiled by the older TypeScript inside tslab, which skips checks of declaration files: a name
 * that it does not know becomes `any` without a word. So the built declarations are checked with it here.
 */
it("the built declarations are clean under the TypeScript that compiles cells", () => {
  const entry = path.resolve("dist/src/index.d.ts");
  expect(existsSync(entry), `${entry}: run "npm run build:ts" first`).toBe(true);
  const load = createRequire(createRequire(__filename).resolve("tslab"));
  const ts = load("@tslab/typescript-for-tslab") as typeof TypeScript;
  const program = ts.createProgram([entry], {
    target: ts.ScriptTarget.ES2022,
    lib: ["lib.es2023.d.ts"],
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    esModuleInterop: true,
    skipLibCheck: false,
    noEmit: true,
    types: ["node"],
  });
  const own = ts
    .getPreEmitDiagnostics(program)
    .filter(({ file }) => file?.fileName.startsWith(path.dirname(entry)))
    .map(
      ({ file, messageText }) => `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`,
    );
  expect(own).toEqual([]);
});
