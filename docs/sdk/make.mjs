// Makes docs/sdk from the sources: the API pages from the TSDoc, the gallery from the figures in the notebooks.
//   npm run docs                 writes them
//   npm run docs -- --check      says whether they are as they would be written, and writes nothing
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Application } from "typedoc";
import { gallery } from "./gallery.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../..");
const check = process.argv.includes("--check");
process.chdir(root);

const out = check ? mkdtempSync(join(tmpdir(), "galvatron-docs-")) : here;
rmSync(join(out, "api"), { recursive: true, force: true });
rmSync(join(out, "figures"), { recursive: true, force: true });
mkdirSync(join(out, "figures"), { recursive: true });

const app = await Application.bootstrapWithPlugins({
  entryPoints: ["src/index.ts"],
  tsconfig: "tsconfig.build.json",
  plugin: ["typedoc-plugin-markdown"],
  readme: "docs/sdk/intro.md",
  mergeReadme: true,
  // What a person calls first comes first; what types of others inherit is theirs to tell.
  groupOrder: ["Functions", "Classes", "Interfaces", "Type Aliases", "Variables"],
  excludeExternals: true,
  name: "galvatron-ts",
  excludeInternal: true,
  excludePrivate: true,
  // Lines and revisions change with every commit; names do not.
  disableSources: true,
  hideGenerator: true,
  hidePageHeader: true,
  hideBreadcrumbs: true,
  outputFileStrategy: "modules",
  useCodeBlocks: true,
  parametersFormat: "table",
  interfacePropertiesFormat: "table",
  classPropertiesFormat: "table",
  typeDeclarationFormat: "table",
  sort: ["kind", "alphabetical"],
  validation: { notExported: false, invalidLink: true, notDocumented: true },
  requiredToBeDocumented: ["Function", "Class", "Interface", "TypeAlias", "Method", "Accessor", "Variable"],
  treatWarningsAsErrors: true,
  treatValidationWarningsAsErrors: true,
  logLevel: "Warn",
});
const project = await app.convert();
if (!project) process.exit(1);
app.validate(project);
app.options.setValue("out", join(out, "api"));
await app.generateOutputs(project);
if (app.logger.hasErrors() || app.logger.hasWarnings()) process.exit(1);

const require = createRequire(join(root, "dist/src/index.js"));
const { page, pictures } = gallery(root, require);
writeFileSync(join(out, "gallery.md"), page);
for (const { file, svg } of pictures) writeFileSync(join(out, file), svg);

if (check) {
  const made = ["gallery.md", ...listed(out, "api"), ...listed(out, "figures")];
  const held = ["gallery.md", ...listed(here, "api"), ...listed(here, "figures")];
  const stale = [...new Set([...made, ...held])].filter((file) => read(out, file) !== read(here, file));
  rmSync(out, { recursive: true });
  for (const file of stale) process.stdout.write(`docs/sdk/${file} is not what the sources say: run npm run docs\n`);
  process.stdout.write(`${made.length - stale.length} passed, ${stale.length} failed, 0 skipped\n`);
  process.exit(stale.length === 0 ? 0 : 1);
}

function listed(folder, part) {
  try {
    return readdirSync(join(folder, part), { recursive: true, encoding: "utf8", withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
      .sort();
  } catch {
    return [];
  }
}

function read(folder, file) {
  try {
    return readFileSync(join(folder, file), "utf8");
  } catch {
    return null;
  }
}
