import { inspect } from "node:util";
import type { Diagnostic } from "tslab/dist/converter.js";
import { isGalvatronError } from "../src/base/errors.js";
import type { CellPositions } from "./cell-positions.js";

/** A failed cell as the protocol tells it. */
export interface CellFailure {
  readonly ename: string;
  readonly evalue: string;
  readonly traceback: readonly string[];
}

const RED = "\u001b[31m";
const DIM = "\u001b[2m";
const BOLD = "\u001b[1m";
const OFF = "\u001b[0m";
const MAX_LINE_CHARACTERS = 2000;
const MAX_FRAMES = 12;

/** The sources of cells by the names that stack traces give them. */
export type CellSources = ReadonlyMap<string, { readonly count: number; readonly code: string }>;

/** What a front end shows when a cell throws: the message, where in which cell, and none of our own frames. */
export function describeThrown(thrown: unknown, positions: CellPositions, cells: CellSources): CellFailure {
  if (!(thrown instanceof Error) && !isErrorLike(thrown)) {
    const text = cut(inspect(thrown, { depth: 2 }));
    return { ename: "Thrown", evalue: text, traceback: [`${RED}Thrown${OFF}: ${text}`] };
  }
  if (isSignal(thrown)) return describeInterrupt();
  const ename = String(thrown.name || "Error");
  const evalue = cut(String(thrown.message ?? ""));
  const frames = framesOf(thrown, positions, cells);
  const traceback = [`${RED}${BOLD}${ename}${OFF}: ${evalue}`];
  const first = frames.find((frame) => frame.excerpt);
  if (first?.excerpt) traceback.push("", ...first.excerpt);
  if (frames.length > 0) traceback.push("", ...frames.map((frame) => `${DIM}${frame.text}${OFF}`));
  traceback.push(...contextLines(thrown), ...causeLines(thrown));
  return { ename, evalue, traceback: traceback.map(cut) };
}

export function describeInterrupt(): CellFailure {
  const evalue = "The cell was interrupted; what it had declared is kept.";
  return { ename: "Interrupted", evalue, traceback: [`${RED}${BOLD}Interrupted${OFF}: ${evalue}`] };
}

/** What a front end shows when the compiler refuses a cell: each complaint with its line and a caret. */
export function describeRejected(diagnostics: readonly Diagnostic[], code: string): CellFailure {
  const lines = code.split("\n");
  const groups = chains(diagnostics);
  const traceback = groups.flatMap((chain, index): string[] => {
    const { start, end, fileName } = chain[0]!;
    const where = fileName
      ? `${fileName}:${start.line + 1}:${start.character + 1}`
      : `line ${start.line + 1}`;
    const messages = chain.map(({ messageText }, depth) => `${"  ".repeat(depth)}${messageText}`);
    const head = `${RED}${BOLD}TypeScript${OFF} ${DIM}(${where})${OFF}: ${messages[0]}`;
    const excerpt = fileName ? [] : underline(lines[start.line] ?? "", start, end);
    return [...(index > 0 ? [""] : []), head, ...messages.slice(1), ...excerpt];
  });
  return { ename: "TypeScriptError", evalue: diagnostics[0]!.messageText, traceback: traceback.map(cut) };
}

/** tslab gives a complaint and its explanations as separate entries of one place. */
function chains(diagnostics: readonly Diagnostic[]): Diagnostic[][] {
  const groups: Diagnostic[][] = [];
  for (const diagnostic of diagnostics) {
    const last = groups.at(-1)?.[0];
    const explains =
      last !== undefined &&
      last.fileName === diagnostic.fileName &&
      last.start.offset === diagnostic.start.offset &&
      last.end.offset === diagnostic.end.offset;
    if (explains) groups.at(-1)!.push(diagnostic);
    else groups.push([diagnostic]);
  }
  return groups;
}

function underline(line: string, start: Diagnostic["start"], end: Diagnostic["end"]): string[] {
  const width = Math.max(1, (end.line === start.line ? end.character : line.length) - start.character);
  return [`  ${line}`, `  ${" ".repeat(Math.max(0, start.character))}${RED}${"^".repeat(width)}${OFF}`];
}

interface Frame {
  readonly text: string;
  readonly excerpt: readonly string[] | undefined;
}

const FRAME = /^\s+at (?:(.*?) \()?(.*?):(\d+):(\d+)\)?$/;
/** Frames that tell a user nothing: node's own, packages, and this package's compiled code. */
const LIBRARY_FRAME = /node:|[\\/]node_modules[\\/]|[\\/]dist[\\/](src|kernel)[\\/]|evalmachine|<anonymous>$/;

function framesOf(error: Error, positions: CellPositions, cells: CellSources): Frame[] {
  return String(error.stack ?? "")
    .split("\n")
    .flatMap((line): Frame[] => {
      const found = FRAME.exec(line);
      if (!found) return [];
      const [, caller, file, lineText, columnText] = found as unknown as [
        string,
        string?,
        string?,
        string?,
        string?,
      ];
      const at = { line: Number(lineText), column: Number(columnText) };
      const cell = cells.get(file!);
      if (!cell) return LIBRARY_FRAME.test(line) ? [] : [{ text: line.trimEnd(), excerpt: undefined }];
      const typed = positions.find(file!, at);
      const name = readableCaller(caller);
      if (!typed) return [];
      return [
        {
          text: `    at ${name}cell ${cell.count}, line ${typed.line}:${typed.column}`,
          excerpt: excerptOf(cell.code, typed),
        },
      ];
    })
    .slice(0, MAX_FRAMES);
}

/** A function's name where a frame has one that the user wrote. */
function readableCaller(caller: string | undefined): string {
  const name = caller?.replace(/^(async |new |Object\.|exports\.|Proxy\.)+/, "") ?? "";
  return name === "" || name === "eval" || name === "<anonymous>" ? "" : `${name} in `;
}

function excerptOf(code: string, at: { readonly line: number; readonly column: number }): string[] {
  const lines = code.split("\n");
  const from = Math.max(0, at.line - 3);
  const width = String(Math.min(lines.length, at.line + 1)).length;
  return lines.slice(from, at.line + 1).flatMap((line, index) => {
    const number = from + index + 1;
    const here = number === at.line;
    const gutter = `${here ? `${RED}>${OFF}` : " "} ${String(number).padStart(width)} | `;
    const caret = `  ${" ".repeat(width)} | ${" ".repeat(at.column - 1)}${RED}^${OFF}`;
    return here ? [gutter + line, caret] : [gutter + line];
  });
}

function contextLines(error: Error): string[] {
  if (!isGalvatronError(error)) return [];
  const entries = Object.entries(error.context).map(([key, value]) => `${key}: ${value}`);
  return ["", `${DIM}${[error.code, ...entries].join(" · ")}${OFF}`];
}

function causeLines(error: Error): string[] {
  const { cause } = error;
  if (!(cause instanceof Error)) return [];
  return ["", `${DIM}Caused by ${cause.name}: ${cause.message}${OFF}`];
}

function isErrorLike(value: unknown): value is Error {
  return typeof value === "object" && value !== null && "stack" in value && "message" in value;
}

function isSignal(error: Error): boolean {
  return (
    (error as NodeJS.ErrnoException).code === "ERR_SCRIPT_EXECUTION_INTERRUPTED" ||
    error.message === "Interrupted asynchronously"
  );
}

function cut(line: string): string {
  return line.length <= MAX_LINE_CHARACTERS
    ? line
    : `${line.slice(0, MAX_LINE_CHARACTERS)}… (${line.length - MAX_LINE_CHARACTERS} more characters)`;
}
