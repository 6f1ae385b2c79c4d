import { closeSync, existsSync, fstatSync, mkdirSync, openSync, readFileSync, readSync } from "node:fs";
import { open, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { GalvatronError } from "../../base/errors.js";
import { configJsonText } from "../../families/hugging-face-json.js";
import { familyOf } from "../../families/registry.js";
import type { TensorView } from "../../families/tensor-view.js";
import type { ModelSpec } from "../../model/model-spec.js";
import { WEIGHT_BYTES, type WeightDtype } from "./float-formats.js";
import {
  headerBytes,
  PREFIX_BYTES,
  parseSafetensorsHeader,
  type SafetensorsEntry,
  type SafetensorsHeader,
  safetensorsHeader,
} from "./safetensors-json.js";
import { type PlacedView, unwritable } from "./weight-states.js";
import { parseWeightsIndex, weightsIndexText } from "./weights-index-json.js";

const CONFIG = "config.json";
const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
/** Files under way: no reader takes them for weights. */
const PARTIAL = ".partial";
/** Hugging Face's libraries split files of this size. */
const FILE_BYTES = 5e9;

function unreadable(path: string, cause: unknown): GalvatronError {
  return new GalvatronError(
    "FILE_UNREADABLE",
    `Cannot read ${path}. Give a folder with a ${CONFIG} and safetensors files as save_pretrained writes it.`,
    { path },
    { cause },
  );
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

/** Text of a folder's configuration. @throws GalvatronError FILE_UNREADABLE */
export function readConfig(folder: string): string {
  return textOf(join(folder, CONFIG));
}

/** @throws GalvatronError FILE_UNREADABLE, CHECKPOINT_INVALID */
export function readHeader(path: string): SafetensorsHeader {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (cause) {
    throw unreadable(path, cause);
  }
  try {
    const { size } = fstatSync(file);
    const prefix = new Uint8Array(Math.min(PREFIX_BYTES, size));
    readSync(file, prefix, 0, prefix.byteLength, 0);
    const header = new Uint8Array(Math.min(headerBytes(prefix, path), size - PREFIX_BYTES));
    readSync(file, header, 0, header.byteLength, PREFIX_BYTES);
    return parseSafetensorsHeader(header, size, path);
  } finally {
    closeSync(file);
  }
}

/** Where a model's parameters lie in a folder. */
export interface StoredWeights {
  readonly views: readonly PlacedView[];
  /** Tensors of the files that the model has no use for. */
  readonly unused: readonly string[];
  readonly sizeBytes: number;
}

/**
 * Finds every parameter of a model in a folder of safetensors, one file or several with an index. Reads headers only.
 *
 * @throws GalvatronError FILE_UNREADABLE; CHECKPOINT_INVALID with the tensor that is missing or of another shape
 */
export function storedWeights(folder: string, model: ModelSpec): StoredWeights {
  const index = join(folder, INDEX);
  const names = existsSync(index)
    ? [...new Set(Object.values(parseWeightsIndex(textOf(index), index)))]
    : [SINGLE];
  const found = new Map<string, SafetensorsEntry & { readonly path: string }>();
  let sizeBytes = 0;
  for (const name of names) {
    const path = join(folder, name);
    const { entries, fileBytes } = readHeader(path);
    sizeBytes += fileBytes;
    for (const entry of entries) found.set(entry.name, { ...entry, path });
  }
  const { tensors, basePrefix } = familyOf(model.family).huggingFace;
  const used = new Set<string>();
  const views = tensors(model).map((view): PlacedView => {
    const bare = view.tensor.startsWith(basePrefix) ? view.tensor.slice(basePrefix.length) : view.tensor;
    const entry = found.get(view.tensor) ?? found.get(bare);
    if (!entry)
      throw invalid(folder, view.tensor, `expected a tensor [${view.shape}] of that name, found none`);
    used.add(entry.name);
    if (entry.shape.join() !== view.shape.join())
      throw invalid(folder, entry.name, `expected the shape [${view.shape}], found [${entry.shape}]`);
    if (!(entry.dtype in WEIGHT_BYTES))
      throw invalid(folder, entry.name, `expected F32, BF16 or F16 elements, found ${entry.dtype}`);
    return { view, path: entry.path, dtype: entry.dtype as WeightDtype, start: entry.start };
  });
  return { views, unused: [...found.keys()].filter((name) => !used.has(name)).sort(), sizeBytes };
}

function invalid(folder: string, tensor: string, reason: string): GalvatronError {
  return new GalvatronError(
    "CHECKPOINT_INVALID",
    `${folder} holds the weights of another model: ${tensor}: ${reason}.`,
    { path: folder, tensor },
  );
}

/** Files of weights that stand ready to be filled. */
export interface WeightFiles {
  readonly views: readonly PlacedView[];
  /** Gives the files their names, configuration last: then the folder holds a model. */
  readonly finish: () => Promise<void>;
  /** Takes them away again. */
  readonly discard: () => Promise<void>;
}

interface PlannedFile {
  readonly name: string;
  readonly entries: readonly Omit<SafetensorsEntry, "start">[];
}

/** Tensors over files of at most `fileBytes`, in the order of the model. */
function planFiles(
  views: readonly TensorView[],
  dtype: WeightDtype,
  fileBytes: number,
): readonly PlannedFile[] {
  const shapes = new Map(views.map(({ tensor, shape }) => [tensor, shape]));
  const groups: Omit<SafetensorsEntry, "start">[][] = [[]];
  let filled = 0;
  for (const [name, shape] of shapes) {
    const bytes = shape.reduce((product, extent) => product * extent, WEIGHT_BYTES[dtype]);
    if (filled > 0 && filled + bytes > fileBytes) {
      groups.push([]);
      filled = 0;
    }
    groups.at(-1)!.push({ name, dtype, shape });
    filled += bytes;
  }
  const number = (value: number): string => String(value).padStart(5, "0");
  return groups.map((entries, at) => ({
    name: groups.length === 1 ? SINGLE : `model-${number(at + 1)}-of-${number(groups.length)}.safetensors`,
    entries,
  }));
}

/**
 * Makes the files of a model's weights under Hugging Face's names, in their full length, for ranks to fill.
 *
 * @param fileBytes most bytes of tensors in one file
 * @throws GalvatronError FILE_UNWRITABLE
 */
export async function makeWeightFiles(
  folder: string,
  model: ModelSpec,
  dtype: WeightDtype = "F32",
  fileBytes: number = FILE_BYTES,
): Promise<WeightFiles> {
  const views = familyOf(model.family).huggingFace.tensors(model);
  const files = planFiles(views, dtype, fileBytes);
  const places = new Map<string, { readonly path: string; readonly start: number }>();
  const index: Record<string, string> = {};
  let tensorBytes = 0;
  const discard = async (): Promise<void> => {
    for (const { name } of files) await rm(join(folder, name + PARTIAL), { force: true });
  };
  try {
    mkdirSync(folder, { recursive: true });
    for (const { name, entries } of files) {
      const path = join(folder, name + PARTIAL);
      const { bytes, header } = safetensorsHeader(entries, { format: "pt" });
      const file = await open(path, "w");
      try {
        await file.write(bytes);
        await file.truncate(header.fileBytes);
      } finally {
        await file.close();
      }
      tensorBytes += header.fileBytes - bytes.byteLength;
      for (const entry of header.entries) {
        places.set(entry.name, { path, start: entry.start });
        index[entry.name] = name;
      }
    }
  } catch (cause) {
    await discard();
    throw unwritable(folder, cause);
  }
  return {
    views: views.map((view) => ({ view, dtype, ...places.get(view.tensor)! })),
    discard,
    finish: async () => {
      try {
        for (const { name } of files) await rename(join(folder, name + PARTIAL), join(folder, name));
        if (files.length > 1) await writeFile(join(folder, INDEX), weightsIndexText(index, tensorBytes));
        else await rm(join(folder, INDEX), { force: true });
        await writeFile(join(folder, CONFIG), configJsonText(model));
      } catch (cause) {
        throw unwritable(folder, cause);
      }
    },
  };
}
