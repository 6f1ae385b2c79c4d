import { readdirSync, statSync } from "node:fs";
import { join, resolve, sep } from "node:path";
import { GalvatronError } from "../../base/errors.js";

/** True where a path holds a glob's signs. */
function isGlob(path: string): boolean {
  return /[*?{[]/.test(path);
}

/** A glob over `/`-separated paths as a regular expression: `*`, `**`, `?`, `{a,b}`, `[abc]`. */
export function globPattern(glob: string): RegExp {
  let source = "";
  let braces = 0;
  for (let i = 0; i < glob.length; i++) {
    const sign = glob[i]!;
    if (sign === "*") {
      if (glob[i + 1] !== "*") source += "[^/]*";
      else if (glob[i + 2] === "/") {
        source += "(?:[^/]+/)*";
        i += 2;
      } else {
        source += ".*";
        i += 1;
      }
    } else if (sign === "?") source += "[^/]";
    else if (sign === "[" && glob.includes("]", i)) {
      const end = glob.indexOf("]", i);
      source += `[${glob
        .slice(i + 1, end)
        .replace(/^!/, "^")
        .replaceAll("\\", "\\\\")}]`;
      i = end;
    } else if (sign === "{") {
      braces++;
      source += "(?:";
    } else if (sign === "}" && braces > 0) {
      braces--;
      source += ")";
    } else if (sign === "," && braces > 0) source += "|";
    else source += sign.replace(/[\\^$.|+()[\]{}]/, "\\$&");
  }
  return new RegExp(`^${source}$`);
}

/**
 * The files that a path, folder or glob names, as absolute paths in byte order: the same everywhere.
 *
 * @throws GalvatronError FILE_UNREADABLE when nothing is there
 */
export function filesOf(path: string, folder: string): readonly string[] {
  const full = resolve(folder, path);
  const found = isGlob(path) ? globFiles(full) : plainFiles(full);
  if (found.length === 0)
    throw new GalvatronError(
      "FILE_UNREADABLE",
      isGlob(path)
        ? `No file matches "${path}" in ${folder}.`
        : `No file or folder "${path}" in ${folder}. Give an existing path or a glob such as "data/**/*.txt".`,
      { path: full },
    );
  return found;
}

function plainFiles(full: string): readonly string[] {
  const stats = statSync(full, { throwIfNoEntry: false });
  if (!stats) return [];
  return stats.isDirectory() ? filesBeneath(full) : [full];
}

function globFiles(full: string): readonly string[] {
  const parts = full.split(sep);
  const start = parts.slice(0, parts.findIndex(isGlob)).join(sep) || sep;
  if (!statSync(start, { throwIfNoEntry: false })?.isDirectory()) return [];
  const pattern = globPattern(parts.join("/"));
  return filesBeneath(start).filter((file) => pattern.test(file.split(sep).join("/")));
}

function filesBeneath(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}
