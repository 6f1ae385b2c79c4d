import { existsSync } from "node:fs";
import { GalvatronError } from "../../../base/errors.js";
import type { OnProgress } from "../../../base/progress.js";
import type { TextData } from "../data-description.js";
import type { DataFile, TokenPiece } from "../dataset.js";
import { newFile, preparedPath } from "./cache-files.js";
import { tableRows } from "./data-table.js";
import { type DocumentPiece, isTokens, jsonLines, textDocument } from "./documents.js";
import { indexBytes, indexedPiece } from "./indexed-file.js";
import type { LoadedTokenizer } from "./tokenizer.js";

/** Between bytes of two documents. */
const NEWLINE = 10;
/** Counts up when the same files give other tokens than before. */
const VERSION = "1";
/** Progress is told so often. */
const TELL_MS = 50;

/** How tokens are written: as narrow as the vocabulary allows. */
type TokenType = "uint8" | "uint16" | "int32";

/**
 * Tokens of text files, once and for all: written as a Megatron indexed dataset under `.galvatron/data`, named by what
 * went into it, and found there the next time.
 *
 * @param tokenizer - null: bytes, documents apart by a line's end
 * @throws GalvatronError FILE_UNREADABLE, FILE_UNWRITABLE, DATA_INVALID naming file and place
 */
export async function prepareTokens(
  data: Pick<TextData, "format" | "field">,
  files: readonly DataFile[],
  tokenizer: LoadedTokenizer | null,
  folder: string,
  onProgress: OnProgress,
): Promise<TokenPiece> {
  const how = [VERSION, data.format, data.field, tokenizer?.hash ?? "bytes"];
  const prefix = preparedPath(folder, files, how);
  if (existsSync(`${prefix}.idx`) && existsSync(`${prefix}.bin`)) return indexedPiece(prefix);
  const bin = newFile(`${prefix}.bin`);
  try {
    const written = await writeTokens(data, files, tokenizer, bin.write, onProgress);
    bin.finish();
    const index = newFile(`${prefix}.idx`);
    index.write(indexBytes(written.type, written.documents));
    index.finish();
  } catch (error) {
    bin.discard();
    throw error;
  }
  return indexedPiece(prefix);
}

async function writeTokens(
  data: Pick<TextData, "format" | "field">,
  files: readonly DataFile[],
  tokenizer: LoadedTokenizer | null,
  write: (bytes: Uint8Array) => void,
  onProgress: OnProgress,
): Promise<{ readonly type: TokenType; readonly documents: readonly number[] }> {
  const total = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  const documents: number[] = [];
  let type: TokenType | null = null;
  let [tokens, before, told] = [0, 0, performance.now()];
  for (const { path, sizeBytes } of files) {
    onProgress({ label: path, done: before, total });
    for await (const piece of documentsOf(data, path, sizeBytes)) {
      const given = typeof piece.content !== "string";
      // Tokens that came as numbers may be any; a file has one type, and the first document decides.
      type ??= given && !tokenizer ? "int32" : typeOf(tokenizer);
      if (given && !tokenizer && type !== "int32")
        throw new GalvatronError(
          "DATA_INVALID",
          `${path} has texts and lists of tokens; without a tokenizer give one or the other.`,
          { path },
        );
      if (!given && !tokenizer && type === "int32")
        throw new GalvatronError(
          "DATA_INVALID",
          `${path} has texts among lists of tokens; give the tokenizer.json that makes tokens of them.`,
          { path },
        );
      const encoded = given ? piece.content : encode(tokenizer, piece.content, piece.ends, path);
      write(packed(encoded, type));
      tokens += encoded.length;
      if (piece.ends) {
        documents.push(tokens);
        tokens = 0;
      }
      if (performance.now() - told > TELL_MS) {
        onProgress({ label: path, done: before + piece.bytesRead, total });
        told = performance.now();
      }
    }
    before += sizeBytes;
  }
  return { type: type ?? typeOf(tokenizer), documents };
}

function encode(
  tokenizer: LoadedTokenizer | null,
  text: string,
  ends: boolean,
  path: string,
): readonly number[] | Uint8Array {
  if (!tokenizer) return Buffer.from(ends ? text + String.fromCharCode(NEWLINE) : text, "utf8");
  const { end } = tokenizer.meaning;
  try {
    const tokens = text === "" ? [] : tokenizer.encode(text);
    return ends && end !== null ? [...tokens, end] : tokens;
  } catch (cause) {
    throw new GalvatronError(
      "DATA_INVALID",
      `${tokenizer.meaning.source} cannot encode a text of ${path}: ${cause instanceof Error ? cause.message : String(cause)}.`,
      { path },
      { cause },
    );
  }
}

function typeOf(tokenizer: LoadedTokenizer | null): TokenType {
  if (!tokenizer) return "uint8";
  return tokenizer.meaning.words <= 2 ** 16 ? "uint16" : "int32";
}

function packed(tokens: ArrayLike<number>, type: TokenType): Uint8Array {
  if (type === "uint8") return tokens instanceof Uint8Array ? tokens : Uint8Array.from(tokens);
  const wide = type === "uint16" ? Uint16Array.from(tokens) : Int32Array.from(tokens);
  return new Uint8Array(wide.buffer, wide.byteOffset, wide.byteLength);
}

async function* documentsOf(
  { format, field }: Pick<TextData, "format" | "field">,
  path: string,
  sizeBytes: number,
): AsyncGenerator<DocumentPiece> {
  if (format === "text") yield* textDocument(path);
  else if (format === "jsonl") yield* jsonLines(path, field);
  else
    for await (const { columns, share } of tableRows(path, [field]))
      for (const content of columns[0]!) {
        if (typeof content !== "string" && !isTokens(content))
          throw new GalvatronError(
            "DATA_INVALID",
            `${path}: expected texts or lists of tokens in column "${field}", found ${JSON.stringify(content)?.slice(0, 60)}.`,
            { path, column: field },
          );
        yield { content, ends: true, bytesRead: share * sizeBytes };
      }
}
