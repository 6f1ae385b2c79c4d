import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(resolve("build"), "sdk-types-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Declarations of the package's door, as the build makes them. */
function declarations(): string {
  const program = ts.createProgram([resolve("src/index.ts")], {
    target: ts.ScriptTarget.ES2022,
    lib: ["lib.es2022.d.ts"],
    types: ["node"],
    module: ts.ModuleKind.Node20,
    rootDir: resolve("."),
    outDir: folder,
    declaration: true,
    emitDeclarationOnly: true,
    stripInternal: true,
    strict: true,
    skipLibCheck: true,
  });
  program.emit();
  return join(folder, "src", "index.d.ts");
}

describe("the package's declarations", { timeout: 180_000 }, () => {
  it("are read without an error by the TypeScript 5.0 of notebook cells", () => {
    const entry = declarations();
    const old = createRequire(__filename)("@tslab/typescript-for-tslab") as typeof ts;
    expect(old.version).toMatch(/^5\.0/);
    const program = old.createProgram([entry], {
      target: old.ScriptTarget.ES2022,
      lib: ["lib.es2022.d.ts"],
      module: old.ModuleKind.ESNext,
      moduleResolution: old.ModuleResolutionKind.Node10,
      esModuleInterop: true,
      strict: true,
      skipLibCheck: false,
      noEmit: true,
      types: ["node"],
    });
    const own = old
      .getPreEmitDiagnostics(program)
      .filter((diagnostic) => diagnostic.file?.fileName.startsWith(folder))
      .map(
        (diagnostic) =>
          `${diagnostic.file!.fileName.slice(folder.length)}: ${old.flattenDiagnosticMessageText(diagnostic.messageText, " ")}`,
      );
    expect(own).toEqual([]);
    const checker = program.getTypeChecker();
    const door = checker.getSymbolAtLocation(program.getSourceFile(entry)!)!;
    const typeOf = (name: string): string => {
      const symbol = checker.getExportsOfModule(door).find((exported) => exported.name === name)!;
      const target = checker.getAliasedSymbol(symbol);
      return checker.typeToString(checker.getTypeOfSymbolAtLocation(target, target.valueDeclaration!));
    };
    expect(typeOf("model")).toBe(
      "(name: string | ModelSource, options?: ModelOptions | undefined) => ModelHandle",
    );
    expect(typeOf("cluster")).toBe(
      "{ (options?: ClusterOptions | undefined): ClusterHandle; (preset: string, options?: PresetOptions | undefined): ClusterHandle; }",
    );
  });
});
