import { accessSync, constants, statSync } from "node:fs";
import { resolve } from "node:path";
import { GalvatronError } from "../../base/errors.js";
import type { OnProgress } from "../../base/progress.js";
import type { ModelSpec } from "../../model/model-spec.js";
import type {
  ArrayData,
  DataDescription,
  ImageFolderData,
  IndexedData,
  TextData,
} from "./data-description.js";
import type { DataFile, Dataset, DatasetPart, Source, TokenPiece } from "./dataset.js";
import { filesOf } from "./glob.js";
import { type Objective, tokensOf } from "./objectives/objective.js";
import { BYTES, imageObjective, syntheticObjective, textObjective } from "./objectives/objective-of.js";
import { imageFolder } from "./prepare/image-folder.js";
import { indexedPiece } from "./prepare/indexed-file.js";
import { arraySource } from "./prepare/prepare-arrays.js";
import { prepareInThread, STALL_MS } from "./prepare/prepare-in-thread.js";
import { type LoadedTokenizer, loadTokenizer } from "./prepare/tokenizer.js";

/** Synthetic samples of an epoch; more than anyone trains on. */
const SYNTHETIC_SAMPLES = 2 ** 50;

/** Where data lies, and where what is made of it goes. */
export interface DataPlace {
  /** Relative paths start here. */
  readonly folder: string;
  /** Prepared data is kept in the `.galvatron` of this folder. */
  readonly projectFolder: string;
  /** How long the reader of a file may say nothing. */
  readonly stallMs?: number;
}

/** Data that was found and fits the model. */
export interface FoundData {
  readonly data: DataDescription;
  readonly objective: Objective;
  /** What it is made of. */
  readonly files: readonly DataFile[];
  /** Nothing must be read before training. */
  readonly isReady: boolean;
  /**
   * Reads what must be read once before training: tokenizes, unpacks tables, measures indexes.
   * @throws GalvatronError FILE_UNREADABLE, FILE_UNWRITABLE, DATA_INVALID
   */
  prepare(onProgress?: OnProgress): Promise<Dataset>;
}

type Model = Pick<ModelSpec, "family" | "name" | "sequence" | "vocabulary" | "options">;

/** Parts before their weights are shares. */
type Part = Omit<DatasetPart, "weight">;

/**
 * Looks for the files of a description and asks whether the model can learn from them. Reads no content yet.
 *
 * @throws GalvatronError FILE_UNREADABLE, DATA_INVALID
 */
export function findData(data: DataDescription, model: Model, seed: number, place: DataPlace): FoundData {
  switch (data.format) {
    case "synthetic": {
      const dataset = syntheticDataset(model, seed);
      return { data, objective: dataset.objective, files: [], isReady: true, prepare: async () => dataset };
    }
    case "text":
    case "jsonl":
    case "columns":
      return textFound(data, model, seed, place);
    case "indexed":
      return indexedFound(data, model, seed, place);
    case "images":
    case "arrays":
      return imagesFound(data, model, seed, place);
  }
}

/** Synthetic samples for a model. Each is a function of the seed and its place alone, so there is no order to shuffle. */
export function syntheticDataset(model: Model, seed: number): Dataset {
  const part = { source: { kind: "synthetic" as const }, samples: SYNTHETIC_SAMPLES, heldOut: 0, weight: 1 };
  return { parts: [part], objective: syntheticObjective(model), seed, shuffle: false };
}

function textFound(
  data: TextData,
  model: Model,
  seed: number,
  { folder, projectFolder, stallMs = STALL_MS }: DataPlace,
): FoundData {
  const tokenizer = tokenizerOf(data, folder);
  const objective = textObjective(model, tokenizer?.meaning ?? BYTES);
  const paths = [...new Set(data.paths.flatMap((path) => filesOf(path, folder)))];
  const files = paths.map(fileAt);
  // A file of bytes is its tokens already.
  const isReady = data.format === "text" && !tokenizer;
  const dataset = (pieces: readonly TokenPiece[]): Dataset => ({
    parts: [{ ...tokenPart(pieces, files, model, objective, data.heldOut), weight: 1 }],
    objective,
    seed,
    shuffle: data.shuffle,
  });
  if (isReady) {
    const ready = dataset(
      files.map((file) => ({ ...file, type: "uint8", offsetBytes: 0, tokens: file.sizeBytes })),
    );
    return { data, objective, files, isReady, prepare: async () => ready };
  }
  return {
    data,
    objective,
    files,
    isReady,
    prepare: async (onProgress = () => {}) => {
      const { format, field } = data;
      const task = {
        kind: "tokens" as const,
        data: { format, field },
        files,
        tokenizer: tokenizer?.meaning.source ?? null,
        folder: projectFolder,
      };
      const prepared = await prepareInThread(task, onProgress, stallMs);
      return dataset([prepared.piece]);
    },
  };
}

function indexedFound(data: IndexedData, model: Model, seed: number, { folder }: DataPlace): FoundData {
  const tokenizer = tokenizerOf(data, folder);
  const objective = textObjective(
    model,
    tokenizer?.meaning ?? {
      source: "indexed data without a tokenizer",
      words: 1,
      mask: null,
      edges: null,
      end: null,
      pad: null,
      sentinels: [],
    },
  );
  const pieces = data.parts.map(({ path }) => indexedPiece(resolve(folder, path)));
  const total = data.parts.reduce((sum, { weight }) => sum + weight, 0);
  const parts = pieces.map((piece, i) => ({
    ...tokenPart([piece], [piece], model, objective, data.heldOut),
    weight: data.parts[i]!.weight / total,
  }));
  return {
    data,
    objective,
    files: pieces,
    isReady: true,
    prepare: async () => ({ parts, objective, seed, shuffle: data.shuffle }),
  };
}

function imagesFound(
  data: ImageFolderData | ArrayData,
  model: Model,
  seed: number,
  { folder, projectFolder, stallMs = STALL_MS }: DataPlace,
): FoundData {
  const objective = imageObjective(model, data);
  const dataset = (source: Source, samples: number): Dataset => ({
    parts: [{ source, ...split(samples, data.heldOut), weight: 1 }],
    objective,
    seed,
    shuffle: data.shuffle,
  });
  if (data.format === "images") {
    const source = imageFolder(resolve(folder, data.path), objective);
    const ready = dataset(source, source.files.length);
    const files = source.files.map(({ path }) => fileAt(path));
    return { data, objective, files, isReady: true, prepare: async () => ready };
  }
  const ofArrays = (images: string, labels: string): Dataset => {
    const source = arraySource(images, labels, objective);
    return dataset(source, source.labels.shape[0]!);
  };
  const images = fileAt(resolve(folder, data.images));
  if (data.labels === null) {
    return {
      data,
      objective,
      files: [images],
      isReady: false,
      prepare: async (onProgress = () => {}) => {
        const task = { kind: "arrays" as const, data, file: images, folder: projectFolder };
        const prepared = await prepareInThread(task, onProgress, stallMs);
        return ofArrays(prepared.images, prepared.labels);
      },
    };
  }
  const labels = fileAt(resolve(folder, data.labels));
  const ready = ofArrays(images.path, labels.path);
  return { data, objective, files: [images, labels], isReady: true, prepare: async () => ready };
}

function tokenizerOf({ tokenizer }: TextData | IndexedData, folder: string): LoadedTokenizer | null {
  return tokenizer === null ? null : loadTokenizer(resolve(folder, tokenizer));
}

/** Windows over tokens: those of a causal model share a token, which is the last label of one and the first of the next. */
function tokenPart(
  pieces: readonly TokenPiece[],
  files: readonly DataFile[],
  model: Model,
  objective: Objective,
  heldOut: number,
): Part {
  const tokens = pieces.reduce((sum, piece) => sum + piece.tokens, 0);
  const window = tokensOf(objective);
  const stride = objective.kind === "causal" ? objective.sequence : window;
  const samples = Math.max(0, Math.floor((tokens - window) / stride) + 1);
  if (samples < 1)
    throw new GalvatronError(
      "DATA_INVALID",
      `${files.length} file(s) (${files[0]?.path ?? ""}${files.length > 1 ? ", …" : ""}) hold ${tokens} tokens; one sample of ${model.name} needs ${window}. Give more text or a shorter sequence.`,
      { tokens, window },
    );
  return { source: { kind: "tokens", pieces, stride }, ...split(samples, heldOut) };
}

/** @throws GalvatronError DATA_INVALID when either side would be empty */
function split(samples: number, share: number): { readonly samples: number; readonly heldOut: number } {
  const heldOut = share > 0 ? Math.max(1, Math.round(share * samples)) : 0;
  if (heldOut >= samples)
    throw new GalvatronError(
      "DATA_INVALID",
      `Of ${samples} sample(s), ${heldOut} would be held out: none is left to train on. Give more data or a smaller heldOut.`,
      { samples, heldOut },
    );
  return { samples: samples - heldOut, heldOut };
}

function fileAt(path: string): DataFile {
  try {
    accessSync(path, constants.R_OK);
    return { path, sizeBytes: statSync(path).size };
  } catch (cause) {
    throw new GalvatronError("FILE_UNREADABLE", `Cannot read ${path}.`, { path }, { cause });
  }
}
