import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import ts from "typescript";

/**
 * Brings `dist` up to date with `src` and `kernel` for tests that start worker processes: those run the built files. Types are
 * checked elsewhere; here each file that is newer than its translation is translated, which takes milliseconds.
 */
export default function freshBuild(): void {
  const compilerOptions: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.Node20,
    esModuleInterop: true,
    isolatedModules: true,
  };
  const entries = ["src", "kernel"].flatMap((root) =>
    readdirSync(root, { recursive: true, withFileTypes: true }),
  );
  for (const entry of entries) {
    if (!entry.isFile() || !entry.name.endsWith(".ts")) continue;
    const source = join(entry.parentPath, entry.name);
    const built = join("dist", source.replace(/\.ts$/, ".js"));
    const builtAt = statSync(built, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    if (builtAt > statSync(source).mtimeMs) continue;
    const { outputText } = ts.transpileModule(readFileSync(source, "utf8"), {
      fileName: source,
      compilerOptions,
    });
    mkdirSync(dirname(built), { recursive: true });
    const temporary = `${built}.${process.pid}.tmp`;
    writeFileSync(temporary, outputText);
    renameSync(temporary, built);
  }
}
