import { existsSync } from "node:fs";
import { GalvatronError } from "../../../base/errors.js";
import type { OnProgress } from "../../../base/progress.js";
import type { ArrayData } from "../data-description.js";
import type { DataFile, FileArray, Source } from "../dataset.js";
import type { ClassificationObjective } from "../objectives/objective.js";
import { newFile, preparedPath } from "./cache-files.js";
import { tableRows } from "./data-table.js";
import { npyArray, npyHeader } from "./npy.js";

const VERSION = "1";
const LABEL_TYPES: readonly string[] = [
  "uint8",
  "int8",
  "uint16",
  "int16",
  "uint32",
  "int32",
  "int64",
  "uint64",
];
const IMAGE_TYPES: readonly string[] = ["uint8", "uint16", "float32", "float64", "bool"];

/**
 * Images and labels of two `.npy` files.
 *
 * @throws GalvatronError FILE_UNREADABLE, DATA_INVALID naming the file
 */
export function arraySource(
  imagesPath: string,
  labelsPath: string,
  objective: ClassificationObjective,
): Extract<Source, { kind: "arrays" }> {
  const [images, labels] = [npyArray(imagesPath), npyArray(labelsPath)];
  const refuse = (array: FileArray, why: string): never => {
    throw new GalvatronError(
      "DATA_INVALID",
      `${array.path}, ${array.type} (${array.shape.join(", ")}): ${why}.`,
      {
        path: array.path,
      },
    );
  };
  if (!IMAGE_TYPES.includes(images.type)) refuse(images, `images are ${IMAGE_TYPES.join(", ")}`);
  if (!LABEL_TYPES.includes(labels.type) || labels.shape.length !== 1)
    refuse(labels, "labels are whole numbers, (n)");
  const { shape } = images;
  if (shape[0] !== labels.shape[0])
    refuse(images, `${labels.path} has ${labels.shape[0]} labels; there must be one for each image`);
  if (shape.length !== 3 && shape.length !== 4)
    refuse(
      images,
      "images are (n, height, width), (n, channels, height, width) or (n, height, width, channels)",
    );
  return { kind: "arrays", images, labels, channelAxis: channelAxis(shape, objective.channels) };
}

/** The axis with as many channels as the model has; else one of 1, 3 or 4, for sides of images are longer. */
function channelAxis(shape: readonly number[], channels: number): "first" | "last" | null {
  if (shape.length === 3) return null;
  const [first, last] = [shape[1]!, shape[3]!];
  if (first === channels || last === channels) return last === channels ? "last" : "first";
  return [1, 3, 4].includes(first) && ![1, 3, 4].includes(last) ? "first" : "last";
}

/** Columns of a table as two `.npy` files under `.galvatron/data`, named by what went into them. */
export async function prepareArrays(
  data: ArrayData,
  file: DataFile,
  folder: string,
  onProgress: OnProgress,
): Promise<{ readonly images: string; readonly labels: string }> {
  const prefix = preparedPath(folder, [file], [VERSION, data.imageColumn, data.labelColumn]);
  const paths = { images: `${prefix}-images.npy`, labels: `${prefix}-labels.npy` };
  if (existsSync(paths.images) && existsSync(paths.labels)) return paths;
  const [images, labels] = [newFile(paths.images), newFile(paths.labels)];
  try {
    // Whole numbers up to 255 are bytes, which are scaled when they are read; anything else is taken as it is.
    let [count, largest, whole] = [0, 0, true];
    for await (const { image } of rowsOf(data, file.path, (share) =>
      onProgress({ label: file.path, done: share, total: 2 }),
    )) {
      whole &&= image.every((pixel) => Number.isInteger(pixel) && pixel >= 0 && pixel <= 255);
      largest = image.reduce((most, pixel) => Math.max(most, pixel), largest);
      count++;
    }
    const type = whole && largest > 1 ? "uint8" : "float32";
    let side = 0;
    images.write(npyHeader(type, [0]));
    labels.write(npyHeader("int32", [0]));
    for await (const { image, label, row } of rowsOf(data, file.path, (share) =>
      onProgress({ label: file.path, done: 1 + share, total: 2 }),
    )) {
      if (row === 0) side = Math.sqrt(image.length);
      if (image.length !== side * side || !Number.isInteger(side))
        throw invalid(
          file.path,
          row,
          `has ${image.length} pixels, expected a square of one channel, all of one size`,
        );
      images.write(type === "uint8" ? Uint8Array.from(image) : bytesOf(Float32Array.from(image)));
      labels.write(bytesOf(Int32Array.of(label)));
    }
    images.finish(npyHeader(type, [count, side, side]));
    labels.finish(npyHeader("int32", [count]));
  } catch (error) {
    images.discard();
    labels.discard();
    throw error;
  }
  return paths;
}

async function* rowsOf(
  { imageColumn, labelColumn }: ArrayData,
  path: string,
  onShare: (share: number) => void,
): AsyncGenerator<{ readonly image: readonly number[]; readonly label: number; readonly row: number }> {
  let count = 0;
  for await (const { columns, share } of tableRows(path, [imageColumn, labelColumn])) {
    const [pixels, classes] = columns as readonly [readonly unknown[], readonly unknown[]];
    for (const [i, value] of pixels.entries()) {
      const label = classes[i];
      if (typeof label !== "number" || !Number.isInteger(label))
        throw invalid(path, count, `has the label ${JSON.stringify(label)}, expected a whole number`);
      yield { image: flatPixels(value, path, count), label, row: count };
      count++;
    }
    onShare(share);
  }
}

function flatPixels(value: unknown, path: string, row: number): readonly number[] {
  const flat = Array.isArray(value) ? value.flat(3) : [];
  if (flat.length === 0 || !flat.every((pixel) => typeof pixel === "number"))
    throw invalid(path, row, "is no list of pixels; encoded images belong into a folder, see images(…)");
  return flat as number[];
}

function invalid(path: string, row: number, why: string): GalvatronError {
  return new GalvatronError("DATA_INVALID", `${path}: image ${row} ${why}.`, { path, row });
}

function bytesOf(values: Float32Array | Int32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
