import { createReadStream } from "node:fs";
import { GalvatronError } from "../../../base/errors.js";

/** A document, or a piece of a long one: text, or tokens as they are. */
export interface DocumentPiece {
  readonly content: string | ArrayLike<number>;
  /** The document ends here. */
  readonly ends: boolean;
  /** Of the file, read so far. */
  readonly bytesRead: number;
}

/** Longest piece that is tokenized at once, where it holds a line's end. */
const PIECE_CHARACTERS = 65536;

/** A text file: one document, in pieces that end at lines' ends. */
export async function* textDocument(path: string): AsyncGenerator<DocumentPiece> {
  let held = "";
  let bytesRead = 0;
  for await (const chunk of utf8Chunks(path)) {
    held += chunk.text;
    bytesRead = chunk.bytesRead;
    for (;;) {
      const end = held.length > PIECE_CHARACTERS ? held.lastIndexOf("\n", PIECE_CHARACTERS) + 1 : 0;
      if (end === 0) break;
      yield { content: held.slice(0, end), ends: false, bytesRead };
      held = held.slice(end);
    }
  }
  yield { content: held, ends: true, bytesRead };
}

/** JSON lines: a document is a field of each line's object. Empty lines are passed over. */
export async function* jsonLines(path: string, field: string): AsyncGenerator<DocumentPiece> {
  let held = "";
  let line = 0;
  const document = (text: string, bytesRead: number): DocumentPiece | null => {
    line++;
    if (text.trim() === "") return null;
    return { content: fieldOf(text, field, `${path}, line ${line}`), ends: true, bytesRead };
  };
  let bytesRead = 0;
  for await (const chunk of utf8Chunks(path)) {
    const lines = (held + chunk.text).split("\n");
    held = lines.pop()!;
    bytesRead = chunk.bytesRead;
    for (const text of lines) {
      const found = document(text, bytesRead);
      if (found) yield found;
    }
  }
  const last = document(held, bytesRead);
  if (last) yield last;
}

function fieldOf(text: string, field: string, place: string): string | ArrayLike<number> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new GalvatronError(
      "DATA_INVALID",
      `${place}: this is no JSON object. ${String(cause)}`,
      { place },
      { cause },
    );
  }
  const names = typeof value === "object" && value !== null ? Object.keys(value) : [];
  const found = (value as Record<string, unknown> | null)?.[field];
  if (typeof found === "string" || isTokens(found)) return found;
  throw new GalvatronError(
    "DATA_INVALID",
    `${place}: expected a text or a list of tokens under "${field}", found ${found === undefined ? `the fields ${names.map((name) => `"${name}"`).join(", ") || "none"}` : JSON.stringify(found).slice(0, 60)}. Say which with { field: "…" }.`,
    { place, field },
  );
}

/** Whether a value is a list of whole numbers from 0 on. */
export function isTokens(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

async function* utf8Chunks(
  path: string,
): AsyncGenerator<{ readonly text: string; readonly bytesRead: number }> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let bytesRead = 0;
  const decode = (chunk?: Uint8Array): string => {
    try {
      return chunk ? decoder.decode(chunk, { stream: true }) : decoder.decode();
    } catch (cause) {
      throw new GalvatronError(
        "DATA_INVALID",
        `${path} is no UTF-8 text (within 64 kB after byte ${bytesRead}). Convert it, or train on its bytes without a tokenizer.`,
        { path },
        { cause },
      );
    }
  };
  try {
    for await (const chunk of createReadStream(path)) {
      const text = decode(chunk as Buffer);
      bytesRead += (chunk as Buffer).length;
      yield { text, bytesRead };
    }
  } catch (cause) {
    if (cause instanceof GalvatronError) throw cause;
    throw new GalvatronError("FILE_UNREADABLE", `Cannot read ${path}.`, { path }, { cause });
  }
  yield { text: decode(), bytesRead };
}
