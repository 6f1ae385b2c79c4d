import { existsSync, readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { GalvatronError } from "../base/errors.js";
import {
  arrays,
  columns,
  type DataDescription,
  images,
  indexed,
  jsonl,
  synthetic,
  text,
} from "../runtime/data/data-description.js";
import { type FlagValues, neededFlag, realFlag, textFlag } from "./args.js";

/** Flags by which a command line names data. */
export const DATA_FLAGS: readonly string[] = ["data", "labels", "field", "tokenizer", "held-out"];

/**
 * What `--data` names, by its ending: `.jsonl`, `.arrow`, `.feather`, `.parquet`, `.idx` or `.bin` (Megatron), `.npy` (with
 * `--labels`); a folder of folders of images; anything else is text.
 *
 * @throws GalvatronError ARGUMENT_INVALID
 */
export function dataOf(flags: FlagValues, folder: string): DataDescription {
  if (flags["synthetic"] === true) return synthetic();
  const path = neededFlag(flags, "data", "'docs/**/*.md'");
  const tokenizer = textFlag(flags, "tokenizer");
  const field = textFlag(flags, "field");
  const heldOut = realFlag(flags, "held-out");
  const sampling = heldOut === undefined ? {} : { heldOut };
  const reading = { ...sampling, ...(tokenizer !== undefined && { tokenizer }) };
  const ending = /\.([a-z]+)[}\]]?$/i.exec(path)?.[1]?.toLowerCase() ?? "";
  const unused = (name: string, kind: string): void => {
    if (flags[name] !== undefined)
      throw new GalvatronError("ARGUMENT_INVALID", `--${name} says nothing about ${kind} (--data ${path}).`);
  };
  if (ending !== "npy") unused("labels", "data other than .npy arrays");
  if (["jsonl", "ndjson"].includes(ending))
    return jsonl(path, { ...reading, ...(field !== undefined && { field }) });
  if (["arrow", "feather", "parquet"].includes(ending))
    return columns(path, { ...reading, ...(field !== undefined && { column: field }) });
  unused("field", "data without fields or columns");
  if (["idx", "bin"].includes(ending)) return indexed(path, reading);
  const isNpy = ending === "npy";
  if (isNpy || holdsImages(resolve(folder, path))) {
    unused("tokenizer", "images");
    return isNpy
      ? arrays({ images: path, labels: neededFlag(flags, "labels", "labels.npy") }, sampling)
      : images(path, sampling);
  }
  return text(path, reading);
}

/** A folder whose first subfolder has a PNG or JPEG. */
function holdsImages(path: string): boolean {
  if (!existsSync(path) || !statSync(path).isDirectory()) return false;
  const first = readdirSync(path, { withFileTypes: true }).find(
    (entry) => entry.isDirectory() && !entry.name.startsWith("."),
  );
  return (
    first !== undefined && readdirSync(join(path, first.name)).some((name) => /\.(png|jpe?g)$/i.test(name))
  );
}
