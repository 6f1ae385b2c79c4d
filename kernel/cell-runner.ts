import { MessageChannel } from "node:worker_threads";
import type { MimeBundle } from "../src/display/mime.js";
import { present } from "../src/notebook/present.js";
import type { CellEngine, CellOutcome } from "./cell-engine.js";
import { type CellFailure, describeInterrupt, describeRejected, describeThrown } from "./cell-failure.js";
import type { CellPositions } from "./cell-positions.js";

/** What a cell came to: its last value in every form a front end may want, a page of help, or why it failed. */
export type CellEnd =
  | { readonly kind: "done"; readonly shown?: MimeBundle }
  | { readonly kind: "page"; readonly page: MimeBundle }
  | { readonly kind: "failed"; readonly failure: CellFailure };

/** An expression that a front end asked to evaluate after a cell. */
export type ExpressionEnd =
  | { readonly status: "ok"; readonly data: MimeBundle; readonly metadata: object }
  | ({ readonly status: "error" } & CellFailure);

/** A cell that an interrupt has ended gets this long to end by itself before the kernel goes on without it. */
const LEAVE_CELL_AFTER_MS = 50;

/** Runs cells one at a time, so that each can be interrupted, and says in words how they ended. */
export class CellRunner {
  readonly #engine: CellEngine;
  readonly #positions: CellPositions;
  readonly #sources = new Map<string, { count: number; code: string }>();
  readonly #entry: MessageChannel = new MessageChannel();
  #number = 0;
  /** Leaves the running cell behind. */
  #leave: ((reason: LeftCell) => void) | undefined;

  constructor(engine: CellEngine, positions: CellPositions) {
    this.#engine = engine;
    this.#positions = positions;
  }

  /** @param count what the cell is called in error messages */
  async run(code: string, count: number): Promise<CellEnd> {
    const asked = /^\s*([\w.$]+)\s*\?{1,2}\s*$/.exec(code);
    if (asked) return this.#help(asked[1]!);
    const name = `galvatron-cell-${++this.#number}.js`;
    this.#sources.set(name, { count, code });
    try {
      const outcome = await this.#enter(() => this.#engine.run(code, name));
      if (outcome.kind === "silent") return { kind: "done" };
      if (outcome.kind !== "value") return { kind: "failed", failure: this.describe(outcome, code) };
      const shown = await this.#enter(() => shownValue(outcome.value));
      return { kind: "done", ...(shown ? { shown } : {}) };
    } catch (error) {
      if (error instanceof LeftCell) this.#engine.keepReached(code);
      return { kind: "failed", failure: this.describe({ kind: "thrown", error }, code) };
    }
  }

  async evaluate(code: string, key: string): Promise<ExpressionEnd> {
    const outcome = await this.#engine.run(code, `galvatron-expression-${key}.js`);
    if (outcome.kind === "rejected" || outcome.kind === "thrown") {
      return { status: "error", ...this.describe(outcome, code) };
    }
    const value = outcome.kind === "value" ? outcome.value : undefined;
    return { status: "ok", data: await present(value), metadata: {} };
  }

  /** What the compiler knows of the name at the position. */
  hover(code: string, position: number): MimeBundle | undefined {
    const hover = this.#engine.hover(code, position);
    if (!hover) return undefined;
    const { signature, documentation } = hover;
    return {
      "text/plain": documentation ? `${signature}\n\n${documentation}` : signature,
      "text/markdown": `\`\`\`typescript\n${signature}\n\`\`\`\n\n${documentation}`,
    };
  }

  describe(outcome: CellOutcome, code: string): CellFailure {
    if (outcome.kind === "rejected") return describeRejected(outcome.diagnostics, code);
    const error = outcome.kind === "thrown" ? outcome.error : undefined;
    return error instanceof LeftCell
      ? describeInterrupt()
      : describeThrown(error, this.#positions, this.#sources);
  }

  interrupt(): void {
    this.#engine.interrupt();
    const leave = this.#leave;
    if (leave) setTimeout(() => leave(new LeftCell()), LEAVE_CELL_AFTER_MS);
  }

  /**
   * Runs work of the user from a fresh stack, so that ending it by force ends none of the kernel's own frames, and
   * lets an interrupt leave it behind.
   */
  #enter<Result>(work: () => Promise<Result>): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      this.#leave = reject;
      this.#entry.port2.once("message", () => {
        work().then(resolve, reject);
      });
      this.#entry.port1.postMessage(0);
    }).finally(() => {
      this.#leave = undefined;
    });
  }

  /** `name?` asks for help on the name. */
  #help(name: string): CellEnd {
    const page = this.hover(name, name.length);
    if (page) return { kind: "page", page };
    const evalue = `"${name}" is not in scope.`;
    return { kind: "failed", failure: { ename: "NameError", evalue, traceback: [`NameError: ${evalue}`] } };
  }
}

/**
 * The last value of a cell; a promise is waited for, a handle of ongoing work is not one. A value that shows itself
 * as nothing has drawn itself already.
 */
async function shownValue(last: unknown): Promise<MimeBundle | undefined> {
  const value = await last;
  if (value === undefined || value === null) return undefined;
  const bundle = await present(value);
  return Object.keys(bundle).length === 0 ? undefined : bundle;
}

/** Why a cell that did not end by itself was left. */
class LeftCell extends Error {}
