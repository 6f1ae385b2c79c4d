/** Text put into a cell before it is compiled. */
export interface Insertion {
  /** Offset in the cell as it was typed. */
  readonly at: number;
  readonly text: string;
}

/** A place in a text; all zero-based. */
export interface Place {
  readonly offset: number;
  readonly line: number;
  readonly character: number;
}

/** A cell with insertions of ours, none of which holds a line break, and the way back to what was typed. */
export class CellRewrite {
  readonly text: string;
  readonly #typed: string;
  readonly #insertions: readonly Insertion[];

  /** @param insertions in the order of their offsets */
  constructor(typed: string, insertions: readonly Insertion[]) {
    this.#typed = typed;
    this.#insertions = insertions;
    let text = "";
    let end = 0;
    for (const { at, text: inserted } of insertions) {
      text += typed.slice(end, at) + inserted;
      end = at;
    }
    this.text = text + typed.slice(end);
  }

  /** Where in the typed cell a place of the rewritten one lies; inside an insertion, where that stands. */
  typedPlace(line: number, character: number): Place {
    let start = 0;
    for (let passed = 0; passed < line; passed++) start = this.#typed.indexOf("\n", start) + 1;
    let column = character;
    for (const { at, text } of this.#insertions) {
      const inLine = at >= start && !this.#typed.slice(start, at).includes("\n");
      if (inLine && start + column > at) column = Math.max(at - start, column - text.length);
    }
    return { offset: start + column, line, character: column };
  }
}
