import { readdirSync } from "node:fs";
import { join } from "node:path";
import { GalvatronError } from "../../../base/errors.js";
import type { Source } from "../dataset.js";
import type { ClassificationObjective } from "../objectives/objective.js";

/**
 * The images of a folder's subfolders, each a class, in alphabetical order. Hidden files are passed over.
 *
 * @throws GalvatronError FILE_UNREADABLE, DATA_INVALID
 */
export function imageFolder(
  folder: string,
  objective: ClassificationObjective,
): Extract<Source, { kind: "images" }> {
  const refuse = (why: string): never => {
    throw new GalvatronError("DATA_INVALID", `${folder}: ${why}.`, { path: folder });
  };
  const classes = visible(folder).filter((entry) => entry.isDirectory());
  if (classes.length === 0) refuse("expected a subfolder of PNG or JPEG files for every class, found none");
  if (classes.length > objective.classes)
    refuse(
      `it has ${classes.length} classes (subfolders), the model ${objective.classes}. Give the model { classes: ${classes.length} }`,
    );
  const files = classes.flatMap(({ name }, label) => {
    const entries = visible(join(folder, name));
    const other = entries.find((entry) => !/\.(png|jpe?g)$/i.test(entry.name));
    if (other) refuse(`${join(name, other.name)} is neither a PNG nor a JPEG`);
    if (entries.length === 0) refuse(`class ${name} has no images`);
    return entries.map((entry) => ({ path: join(folder, name, entry.name), label }));
  });
  return { kind: "images", files };
}

function visible(folder: string): readonly { readonly name: string; isDirectory(): boolean }[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => !entry.name.startsWith("."))
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  } catch (cause) {
    throw new GalvatronError(
      "FILE_UNREADABLE",
      `Cannot read the folder ${folder}.`,
      { path: folder },
      { cause },
    );
  }
}
