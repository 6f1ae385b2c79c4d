import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

let known: string | undefined;

/** The folder of this package: where its `package.json` stands, built (`dist/`) or not. */
export function packageRoot(): string {
  known ??= findPackageRoot(__dirname);
  return known;
}

function findPackageRoot(start: string): string {
  for (let folder = start; ; folder = dirname(folder)) {
    const file = join(folder, "package.json");
    if (existsSync(file) && JSON.parse(readFileSync(file, "utf8")).name === "galvatron-ts") return folder;
    if (dirname(folder) === folder) return start;
  }
}
