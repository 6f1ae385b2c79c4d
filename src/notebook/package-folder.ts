import { existsSync } from "node:fs";
import path from "node:path";

/** Folder of this package: the nearest one upwards that has a package.json, from sources and compiled files alike. */
export function packageFolder(): string {
  let folder = __dirname;
  while (!existsSync(path.join(folder, "package.json"))) {
    const parent = path.dirname(folder);
    if (parent === folder) throw new Error(`No package.json lies above ${__dirname}.`);
    folder = parent;
  }
  return folder;
}
