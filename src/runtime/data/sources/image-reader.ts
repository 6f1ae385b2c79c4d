import { readFile } from "node:fs/promises";
import { GalvatronError } from "../../../base/errors.js";
import type { FileArray, Source } from "../dataset.js";
import type { ClassificationObjective } from "../objectives/objective.js";
import { hashNumbers } from "../sample-order.js";
import { decodeImage } from "./decode-image.js";
import { ELEMENT_BYTES, numbersOf } from "./elements.js";
import { fitImage, type Move } from "./fit-image.js";
import type { MappedFiles } from "./mapped-files.js";

/** Reads images and their classes by the number of the sample. */
export interface ImageReader {
  label(sample: number): number;
  /** `[patches, channels · patch²]`, see `fitImage`. @throws GalvatronError FILE_UNREADABLE, DATA_INVALID */
  pixels(sample: number, move: Move): Promise<Float32Array>;
}

/** Image files, decoded when they are read. */
export function imageFileReader(
  source: Extract<Source, { kind: "images" }>,
  objective: ClassificationObjective,
): ImageReader {
  return {
    label: (sample) => source.files[sample]!.label,
    pixels: async (sample, move) => {
      const { path } = source.files[sample]!;
      const bytes = await readFile(path).catch((cause: unknown) => {
        throw new GalvatronError("FILE_UNREADABLE", `Cannot read ${path}.`, { path }, { cause });
      });
      return fitImage(decodeImage(bytes, path), objective, path, move);
    },
  };
}

/** Images in a mapped array. */
export function arrayReader(
  source: Extract<Source, { kind: "arrays" }>,
  objective: ClassificationObjective,
  files: MappedFiles,
): ImageReader {
  const { images, labels, channelAxis } = source;
  const [height, width, channels] =
    channelAxis === "first"
      ? [images.shape[2]!, images.shape[3]!, images.shape[1]!]
      : [images.shape[1]!, images.shape[2]!, images.shape[3] ?? 1];
  const real = images.type === "float32" || images.type === "float64";
  const scale = real || images.type === "bool" ? 1 : 1 / (2 ** (8 * ELEMENT_BYTES[images.type]) - 1);
  const scaling = {
    mean: objective.mean ?? (real ? 0 : 0.5),
    deviation: objective.deviation ?? (real ? 1 : 0.5),
  };
  return {
    label: (sample) => {
      const label = readRow(labels, sample, 1, files)[0]!;
      if (Number.isInteger(label) && label >= 0 && label < objective.classes) return label;
      throw new GalvatronError(
        "DATA_INVALID",
        `Label ${sample} of ${labels.path} is ${label}; the model has classes 0 to ${objective.classes - 1}.`,
        { path: labels.path, label, classes: objective.classes },
      );
    },
    pixels: async (sample, move) => {
      const row = readRow(images, sample, height * width * channels, files);
      const values = new Float32Array(row.length);
      const area = height * width;
      for (let i = 0; i < row.length; i++)
        values[channelAxis === "first" ? (i % area) * channels + Math.floor(i / area) : i] = row[i]! * scale;
      return fitImage({ width, height, channels, values }, { ...objective, ...scaling }, images.path, move);
    },
  };
}

function readRow(array: FileArray, row: number, elements: number, files: MappedFiles): ArrayLike<number> {
  const bytes = new Uint8Array(elements * ELEMENT_BYTES[array.type]);
  files.read(array, array.offsetBytes + row * bytes.length, bytes);
  return numbersOf(bytes, array.type, array.path);
}

/** Each class has a pattern of its own, and every image of it other noise. */
export function syntheticImages(objective: ClassificationObjective, seed: number): ImageReader {
  const { classes, image, channels } = objective;
  const label = (sample: number): number => hashNumbers(seed, sample) % classes;
  return {
    label,
    pixels: async (sample, move) => {
      const kind = label(sample);
      const values = new Float32Array(image * image * channels);
      for (let i = 0; i < values.length; i++) {
        const pattern = hashNumbers(seed, kind, i) / 2 ** 31 - 1;
        const noise = hashNumbers(seed, sample, i) / 2 ** 31 - 1;
        values[i] = (pattern + noise) / 2;
      }
      return fitImage({ width: image, height: image, channels, values }, objective, "synthetic data", move);
    },
  };
}
