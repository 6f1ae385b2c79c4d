import type { Converter, ConvertResult, Diagnostic } from "tslab/dist/converter.js";
import type { Executor } from "tslab/dist/executor.js";
import { printQuickInfo } from "tslab/dist/inspect.js";
import type { CellPositions } from "./cell-positions.js";
import { CellRewrite } from "./cell-rewrite.js";
import {
  type Completeness,
  completenessOf,
  declaredNames,
  filterDeclarations,
  hasTopLevelAwait,
  shorthandInsertions,
} from "./cell-syntax.js";
import { resolveKnownModules } from "./module-names.js";
import { SharedVariables } from "./shared-variables.js";
import type { Shield } from "./shield.js";
import { type KnownModules, loadTslab, type Tslab } from "./tslab-typescript.js";

/** How a cell ended. */
export type CellOutcome =
  | { readonly kind: "value"; readonly value: unknown }
  | { readonly kind: "silent" }
  | { readonly kind: "rejected"; readonly diagnostics: readonly Diagnostic[] }
  | { readonly kind: "thrown"; readonly error: unknown };

export interface Completion {
  readonly matches: readonly { readonly text: string; readonly kind: string }[];
  readonly start: number;
  readonly end: number;
}

export interface HoverText {
  readonly signature: string;
  readonly documentation: string;
}

/** tslab sees `await x` at the top of a cell, but not `await (x)` or `for await`; one that never runs opens its eyes. */
const AWAIT_SIGNAL = "if(0)await 0;";
const SYNC_WRAPPER_COLUMNS = "(function(exports, require) { ".length;
const ASYNC_WRAPPER_COLUMNS = "(async function(exports, require) { ".length;

/** Checks, compiles and runs cells that share one scope: tslab's converter and executor, with our seams around them. */
export class CellEngine {
  readonly #positions: CellPositions;
  readonly #shield: Shield;
  readonly #tslab: Tslab;
  readonly #converter: Converter;
  readonly #executor: Executor;
  readonly #variables: SharedVariables;
  /** Declarations of everything in scope, as TypeScript source. */
  #scope = "";
  /** What was in scope when the running cell began. */
  #before: Readonly<Record<string, unknown>> = {};
  #cellName = "";
  #converted: ConvertResult | undefined;
  #diagnostics: Diagnostic[] = [];
  #outcome: CellOutcome = { kind: "silent" };

  constructor(folder: string, modules: KnownModules, positions: CellPositions, shield: Shield) {
    this.#positions = positions;
    this.#shield = shield;
    this.#tslab = loadTslab(modules);
    resolveKnownModules(modules);
    this.#converter = this.#tslab.createConverter({ isJS: false, isBrowser: false });
    const seam: Converter = {
      convert: (_scope, code) => this.#shield.protect(() => this.#convert(code)),
      inspect: (_scope, code, position) =>
        this.#shield.protect(() => this.#converter.inspect(this.#scope, code, position)),
      complete: (_scope, code, position) =>
        this.#shield.protect(() => this.#converter.complete(this.#scope, code, position)),
      close: () => this.#converter.close(),
      addModule: (name, content, meta) => {
        this.#diagnostics = this.#shield.protect(() => this.#converter.addModule(name, content, meta));
        return [];
      },
    };
    const converters = { node: seam, browser: seam, close: () => seam.close() };
    // tslab hands its console the last value of a cell, and whatever a cell threw.
    const console = {
      log: (value: unknown): void => {
        this.#outcome = { kind: "value", value };
      },
      error: (error: unknown): void => {
        this.#outcome = { kind: "thrown", error };
      },
    };
    this.#executor = this.#tslab.createExecutor(folder, converters, console);
    this.#variables = new SharedVariables(this.#executor.locals);
  }

  get typescriptVersion(): string {
    return this.#tslab.typescript.version;
  }

  /** Runs a cell. @param name what stack traces call it */
  async run(code: string, name: string): Promise<CellOutcome> {
    this.#cellName = name;
    this.#converted = undefined;
    this.#diagnostics = [];
    this.#outcome = { kind: "silent" };
    this.#before = this.#variables.values();
    const ended = await this.#executor.execute(code);
    if (this.#diagnostics.length > 0) return { kind: "rejected", diagnostics: this.#diagnostics };
    this.#shield.protect(() => this.#keepScope(code, ended));
    return this.#outcome;
  }

  /** After a cell was ended from outside, what it had declared by then stays in scope. */
  keepReached(code: string): void {
    this.#shield.protect(() => this.#keepScope(code, false));
  }

  /** Ends the wait of a cell that awaits. */
  interrupt(): void {
    this.#executor.interrupt();
  }

  complete(code: string, position: number): Completion {
    const { candidates, start, end, original } = this.#executor.complete(code, position);
    const kinds = new Map((original?.entries ?? []).map((entry) => [entry.name, String(entry.kind)]));
    const matches = candidates.map((text) => ({ text, kind: kinds.get(text) ?? "" }));
    return { matches, start, end };
  }

  /** What the compiler knows of the name at (or just before) the position. */
  hover(code: string, position: number): HoverText | undefined {
    const info =
      this.#executor.inspect(code, position) ??
      (position > 0 ? this.#executor.inspect(code, position - 1) : undefined);
    // The compiler knows no kind of a name that nothing declares.
    if (!info || String(info.kind) === "") return undefined;
    const signature = (info.displayParts ?? []).map((part) => part.text).join("");
    const documentation = printQuickInfo({ ...info, displayParts: [] }).trim();
    return { signature, documentation };
  }

  completeness(code: string): Completeness {
    return completenessOf(this.#tslab.typescript, code, indentAfter);
  }

  close(): void {
    this.#executor.close();
  }

  #convert(code: string): ConvertResult {
    const { typescript } = this.#tslab;
    const signal = hasTopLevelAwait(typescript, code) ? [{ at: 0, text: AWAIT_SIGNAL }] : [];
    const rewrite = new CellRewrite(code, [...signal, ...shorthandInsertions(typescript, code)]);
    const result = this.#converter.convert(this.#scope, rewrite.text);
    this.#converted = result;
    this.#diagnostics = result.diagnostics.map((diagnostic) => asTyped(diagnostic, rewrite));
    const maps = this.#tslab.lastMaps();
    if (maps && result.diagnostics.length === 0) {
      const wrapper = result.hasToplevelAwait ? ASYNC_WRAPPER_COLUMNS : SYNC_WRAPPER_COLUMNS;
      this.#positions.remember(this.#cellName, maps, {
        wrapperColumns: wrapper,
        rewrite,
        lines: (result.output ?? "").trimEnd().split("\n").length,
      });
    }
    if (!result.output || result.diagnostics.length > 0) return result;
    const names = declaredNames(this.#tslab.typescript, code);
    this.#variables.release(names.all);
    const link = this.#variables.linkCode(names.variable);
    return { ...result, output: `${result.output}${link}\n//# sourceURL=${this.#cellName}` };
  }

  /** A cell that failed half-way leaves what it had declared; names it did not reach keep their old values. */
  #keepScope(code: string, ended: boolean): void {
    const declared = this.#converted?.declOutput;
    if (declared === undefined) return;
    if (ended) {
      this.#scope = declared;
      return;
    }
    const ts = this.#tslab.typescript;
    const { locals } = this.#executor;
    const before = this.#before;
    const missed = new Set([...declaredNames(ts, code).all].filter((name) => locals[name] === undefined));
    const restored = new Set([...missed].filter((name) => before[name] !== undefined));
    for (const name of restored) locals[name] = before[name];
    this.#scope = [
      filterDeclarations(ts, declared, (name) => !missed.has(name), true),
      filterDeclarations(ts, this.#scope, (name) => restored.has(name), false),
    ].join("\n");
  }
}

function asTyped(diagnostic: Diagnostic, rewrite: CellRewrite): Diagnostic {
  if (diagnostic.fileName !== undefined) return diagnostic;
  const { start, end } = diagnostic;
  return {
    ...diagnostic,
    start: rewrite.typedPlace(start.line, start.character),
    end: rewrite.typedPlace(end.line, end.character),
  };
}

/** The indent of the line after `code`: two more where a bracket is open. */
function indentAfter(code: string): string {
  const last = /[^\n]*$/.exec(code)![0];
  const current = /^\s*/.exec(last)![0];
  return /[{([]\s*$/.test(last) ? `${current}  ` : current;
}
