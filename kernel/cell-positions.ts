import { SourceMap, type SourceMapPayload } from "node:module";
import type { CellRewrite } from "./cell-rewrite.js";

/** The two steps by which tslab turns a cell into JavaScript: TypeScript to modern modules, those to CommonJS. */
export interface EmittedMaps {
  readonly first: SourceMapPayload;
  readonly second: SourceMapPayload;
}

/** One-based, as people and editors count. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** What stands around a cell's JavaScript when it runs. */
export interface CellWrapping {
  /** Columns that run-time wrapping puts before the first line. */
  readonly wrapperColumns: number;
  /** What we put into the cell before it was compiled. */
  readonly rewrite: CellRewrite;
  /** Lines of JavaScript that the cell became; what lies below is the wrapping around it. */
  readonly lines: number;
}

interface CellMap extends CellWrapping {
  readonly first: SourceMap;
  readonly second: SourceMap;
}

/** tslab makes each cell a module by a line of its own before it. */
const MODULE_LINES = 1;

/** Where a position in the JavaScript that ran lies in the cell that was typed. */
export class CellPositions {
  readonly #cells = new Map<string, CellMap>();

  remember(name: string, maps: EmittedMaps, wrapping: CellWrapping): void {
    const { first, second } = maps;
    this.#cells.set(name, { first: new SourceMap(first), second: new SourceMap(second), ...wrapping });
  }

  /** The position in the cell called `name`, or nothing when the cell or the position is unknown. */
  find(name: string, ran: Position): Position | undefined {
    const cell = this.#cells.get(name);
    if (!cell || ran.line > cell.lines) return undefined;
    const column = ran.column - 1 - (ran.line === 1 ? cell.wrapperColumns : 0);
    const modern = originOf(cell.second, ran.line - 1, Math.max(0, column));
    const typed = modern && originOf(cell.first, modern.line, modern.column);
    if (!typed) return undefined;
    const { line, character } = cell.rewrite.typedPlace(typed.line - MODULE_LINES, typed.column);
    return { line: line + 1, column: character + 1 };
  }
}

function originOf(map: SourceMap, line: number, column: number): Position | undefined {
  const entry = map.findEntry(line, column);
  return "originalLine" in entry ? { line: entry.originalLine, column: entry.originalColumn } : undefined;
}

const INLINE_MAP = /\n?\/\/# sourceMappingURL=data:application\/json;base64,([\w+/=]+)\s*$/;

/** Parts emitted text from the map that the compiler wrote under it. */
export function takeInlineMap(text: string): { code: string; map: SourceMapPayload | undefined } {
  const found = INLINE_MAP.exec(text);
  if (!found) return { code: text, map: undefined };
  const map = JSON.parse(Buffer.from(found[1]!, "base64").toString("utf8")) as SourceMapPayload;
  return { code: text.slice(0, found.index), map };
}
