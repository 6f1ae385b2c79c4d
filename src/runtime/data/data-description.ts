import { GalvatronError } from "../../base/errors.js";

/** What every kind of data may say. */
export interface SampleOptions {
  /** Samples in a seeded random order, anew in every epoch (the default), or in the order of the files. */
  readonly shuffle?: boolean;
  /**
   * Share of the samples that training never sees and evaluation uses: 0 (the default) up to, not including, 1. Which
   * samples these are depends on the data alone.
   */
  readonly heldOut?: number;
}

/** What text may say. */
export interface TextOptions extends SampleOptions {
  /** A Hugging Face `tokenizer.json`. Without one, a token is a byte. */
  readonly tokenizer?: string;
}

/** UTF-8 text: whole files (`text`), a field of JSON lines (`jsonl`) or a column of tables (`columns`). */
export interface TextData {
  readonly format: "text" | "jsonl" | "columns";
  /** Files, folders (all files beneath) or globs (`*`, `**`, `?`, `{a,b}`), relative to the current folder. */
  readonly paths: readonly string[];
  /** Field or column that holds the text, or tokens as a list of whole numbers. "" for whole files. */
  readonly field: string;
  readonly tokenizer: string | null;
  readonly shuffle: boolean;
  readonly heldOut: number;
}

/** Token files as Megatron writes them: `NAME.bin` beside `NAME.idx`. */
export interface IndexedData {
  readonly format: "indexed";
  /** Each with its share of the samples, counted against the sum of all weights. */
  readonly parts: readonly { readonly path: string; readonly weight: number }[];
  /** The tokenizer that made them: says which tokens are special, where a model needs to know. */
  readonly tokenizer: string | null;
  readonly shuffle: boolean;
  readonly heldOut: number;
}

/** What images may say. Pixels are scaled to [0, 1], then `(pixel − mean) / deviation`. */
export interface ImageOptions extends SampleOptions {
  /** 0.5 when left out; 0 for arrays of floating-point numbers, which are not scaled either. */
  readonly mean?: number;
  /** 0.5 when left out; 1 for arrays of floating-point numbers. */
  readonly deviation?: number;
  /** Images to train on are moved by up to so many pixels along each axis, otherwise in every epoch; 0 when left out. */
  readonly shift?: number;
}

/** A folder with a subfolder of PNG and JPEG files for every class; classes count in alphabetical order. */
export interface ImageFolderData {
  readonly format: "images";
  readonly path: string;
  readonly mean: number | null;
  readonly deviation: number | null;
  readonly shift: number;
  readonly shuffle: boolean;
  readonly heldOut: number;
}

/** Images and labels as arrays: two `.npy` files, or two columns of an Arrow or Parquet file. */
export interface ArrayData {
  readonly format: "arrays";
  /** `.npy` of images, `[n, height, width]`, `[n, channels, height, width]` or `[n, height, width, channels]`; or a table. */
  readonly images: string;
  /** `.npy` of whole numbers `[n]`; null where `images` is a table. */
  readonly labels: string | null;
  /** Columns of a table. */
  readonly imageColumn: string;
  readonly labelColumn: string;
  readonly mean: number | null;
  readonly deviation: number | null;
  readonly shift: number;
  readonly shuffle: boolean;
  readonly heldOut: number;
}

/** Samples from a counter-based generator, with a rule that a model can learn. */
export interface SyntheticData {
  readonly format: "synthetic";
}

/** What to train on, as plain data. Nothing is read until a run starts. */
export type DataDescription = TextData | IndexedData | ImageFolderData | ArrayData | SyntheticData;

/**
 * UTF-8 text files as training data: bytes, or the tokens of a tokenizer.
 *
 * @param paths - files, folders or globs
 * @example text("node_modules/typescript/lib/*.d.ts", { heldOut: 0.05 })
 */
export function text(paths: string | readonly string[], options: TextOptions = {}): TextData {
  return textData("text", paths, "", options);
}

/**
 * JSON lines: one object a line, one document an object.
 *
 * @param paths - files, folders or globs
 * @param options - `field` of the document, "text" when left out: a text, or a list of tokens
 */
export function jsonl(
  paths: string | readonly string[],
  options: TextOptions & { readonly field?: string } = {},
): TextData {
  return textData("jsonl", paths, options.field ?? "text", options);
}

/**
 * A column of Arrow (`.arrow`, `.feather`) or Parquet (`.parquet`) files: one document a row.
 *
 * @param paths - files, folders or globs
 * @param options - `column`, "text" when left out: texts, or lists of tokens
 */
export function columns(
  paths: string | readonly string[],
  options: TextOptions & { readonly column?: string } = {},
): TextData {
  return textData("columns", paths, options.column ?? "text", options);
}

/**
 * Megatron indexed datasets, one or several blended.
 *
 * @param paths - a prefix such as "data/books" (for `books.bin` and `books.idx`), or several with their weights
 * @example indexed({ "data/books": 0.7, "data/code": 0.3 })
 */
export function indexed(
  paths: string | Readonly<Record<string, number>>,
  options: TextOptions = {},
): IndexedData {
  const weights = typeof paths === "string" ? { [paths]: 1 } : paths;
  const parts = Object.entries(weights).map(([path, weight]) => ({
    path: path.replace(/\.(bin|idx)$/, ""),
    weight,
  }));
  if (parts.length === 0 || parts.some(({ weight }) => !(Number.isFinite(weight) && weight > 0)))
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `Expected a weight above 0 for each dataset, such as { "data/books": 0.7, "data/code": 0.3 }, got ${JSON.stringify(paths)}.`,
    );
  return { format: "indexed", parts, tokenizer: options.tokenizer ?? null, ...sampling(options) };
}

/**
 * A folder with a subfolder of PNG and JPEG files for every class, decoded when they are needed.
 *
 * @param folder - its subfolders' names, in alphabetical order, are classes 0, 1, …
 */
export function images(folder: string, options: ImageOptions = {}): ImageFolderData {
  return { format: "images", path: folder, ...scaling(options), ...sampling(options) };
}

/**
 * Images and labels that lie in arrays.
 *
 * @param source - `{ images: "x.npy", labels: "y.npy" }`, or an Arrow or Parquet file
 * @param options - of a table: columns "image" (the pixels of a grey square, row by row) and "label" when left out
 */
export function arrays(
  source: string | { readonly images: string; readonly labels: string },
  options: ImageOptions & { readonly imageColumn?: string; readonly labelColumn?: string } = {},
): ArrayData {
  return {
    format: "arrays",
    images: typeof source === "string" ? source : source.images,
    labels: typeof source === "string" ? null : source.labels,
    imageColumn: options.imageColumn ?? "image",
    labelColumn: options.labelColumn ?? "label",
    ...scaling(options),
    ...sampling(options),
  };
}

/** Seeded synthetic samples for any model: for measuring and testing without files. */
export function synthetic(): SyntheticData {
  return { format: "synthetic" };
}

function textData(
  format: TextData["format"],
  paths: string | readonly string[],
  field: string,
  options: TextOptions,
): TextData {
  return {
    format,
    paths: typeof paths === "string" ? [paths] : [...paths],
    field,
    tokenizer: options.tokenizer ?? null,
    ...sampling(options),
  };
}

function sampling({ shuffle = true, heldOut = 0 }: SampleOptions): {
  readonly shuffle: boolean;
  readonly heldOut: number;
} {
  if (!(heldOut >= 0 && heldOut < 1))
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `heldOut is the share of samples kept from training: expected a number from 0 up to, not including, 1, got ${heldOut}.`,
    );
  return { shuffle, heldOut };
}

function scaling({
  mean,
  deviation,
  shift = 0,
}: ImageOptions): Pick<ArrayData, "mean" | "deviation" | "shift"> {
  if (deviation !== undefined && !(deviation > 0))
    throw new GalvatronError("ARGUMENT_INVALID", `deviation: expected a number above 0, got ${deviation}.`);
  if (!Number.isSafeInteger(shift) || shift < 0)
    throw new GalvatronError("ARGUMENT_INVALID", `shift: expected a whole number of pixels, got ${shift}.`);
  return { mean: mean ?? null, deviation: deviation ?? null, shift };
}
