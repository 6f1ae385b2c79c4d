import type { ErrorCode, ErrorContext } from "../../../base/errors.js";
import type { OnProgress, Progress } from "../../../base/progress.js";
import type { ArrayData, TextData } from "../data-description.js";
import type { DataFile, TokenPiece } from "../dataset.js";
import { prepareArrays } from "./prepare-arrays.js";
import { prepareTokens } from "./prepare-tokens.js";
import { loadTokenizer } from "./tokenizer.js";

/** What is to be prepared, as plain data. */
export type PrepareTask =
  | {
      readonly kind: "tokens";
      readonly data: Pick<TextData, "format" | "field">;
      readonly files: readonly DataFile[];
      /** Path of a tokenizer.json; null: bytes. */
      readonly tokenizer: string | null;
      readonly folder: string;
    }
  | { readonly kind: "arrays"; readonly data: ArrayData; readonly file: DataFile; readonly folder: string };

export type Prepared =
  | { readonly kind: "tokens"; readonly piece: TokenPiece }
  | { readonly kind: "arrays"; readonly images: string; readonly labels: string };

/** What the thread that prepares tells. */
export type FromPreparer =
  | { readonly kind: "progress"; readonly progress: Progress }
  | { readonly kind: "prepared"; readonly prepared: Prepared }
  | {
      readonly kind: "failed";
      readonly code: ErrorCode;
      readonly message: string;
      readonly context: ErrorContext;
    };

/** @throws GalvatronError FILE_UNREADABLE, FILE_UNWRITABLE, DATA_INVALID */
export async function prepare(task: PrepareTask, onProgress: OnProgress): Promise<Prepared> {
  if (task.kind === "arrays")
    return { kind: "arrays", ...(await prepareArrays(task.data, task.file, task.folder, onProgress)) };
  const tokenizer = task.tokenizer === null ? null : loadTokenizer(task.tokenizer);
  return {
    kind: "tokens",
    piece: await prepareTokens(task.data, task.files, tokenizer, task.folder, onProgress),
  };
}
