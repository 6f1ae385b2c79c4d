interface HistoryEntry {
  readonly count: number;
  readonly code: string;
  readonly output: string;
}

/** What history_request asks for; the protocol's own names. */
export interface HistoryQuery {
  readonly hist_access_type?: "range" | "tail" | "search";
  readonly output?: boolean;
  readonly start?: number;
  readonly stop?: number;
  readonly n?: number;
  readonly pattern?: string;
  readonly unique?: boolean;
}

type HistoryTuple = [session: number, count: number, code: string | [string, string]];

/** The cells of this session, as the protocol's history shows them. */
export class CellHistory {
  readonly #entries: HistoryEntry[] = [];

  add(count: number, code: string, output: string): void {
    this.#entries.push({ count, code, output });
  }

  find(query: HistoryQuery): HistoryTuple[] {
    return this.#matching(query).map(({ count, code, output }) => [
      0,
      count,
      query.output ? [code, output] : code,
    ]);
  }

  #matching(query: HistoryQuery): readonly HistoryEntry[] {
    const { hist_access_type: kind, n } = query;
    if (kind === "range") {
      const { start = 0, stop = Number.POSITIVE_INFINITY } = query;
      return this.#entries.filter(({ count }) => count >= start && count < stop);
    }
    const found = kind === "search" ? this.#search(query) : this.#entries;
    return n === undefined || n === null ? found : found.slice(-n);
  }

  #search({ pattern = "*", unique }: HistoryQuery): readonly HistoryEntry[] {
    const expression = globExpression(pattern);
    const found = this.#entries.filter(({ code }) => expression.test(code));
    return unique ? [...new Map(found.map((entry) => [entry.code, entry])).values()] : found;
  }
}

/** `*` stands for any text, `?` for any one character. */
function globExpression(pattern: string): RegExp {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replace(/\*/g, ".*")
    .replace(/\?/g, ".");
  return new RegExp(`^${source}$`, "s");
}
