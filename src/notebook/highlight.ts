import { escapeHtml } from "./escape-html.js";

const TOKEN =
  /(?<comment>\/\/[^\n]*|\/\*[\s\S]*?\*\/)|(?<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`)|(?<number>\b\d[\w.]*)|(?<word>[A-Za-z_$][\w$]*)/g;

const KEYWORDS: ReadonlySet<string> = new Set(
  "as async await break case catch class const continue default delete do else enum export extends false finally for from function if import in instanceof interface let new null of return static super switch this throw true try type typeof undefined var void while yield".split(
    " ",
  ),
);

/** TypeScript with its words, strings, numbers and comments in spans of class `ts-…`; everything is escaped. */
export function highlightHtml(code: string): string {
  let html = "";
  let at = 0;
  for (const found of code.matchAll(TOKEN)) {
    html += escapeHtml(code.slice(at, found.index));
    at = found.index + found[0].length;
    const kind = kindOf(found.groups ?? {});
    const text = escapeHtml(found[0]);
    html += kind === undefined ? text : `<span class="ts-${kind}">${text}</span>`;
  }
  return html + escapeHtml(code.slice(at));
}

function kindOf(groups: Record<string, string | undefined>): string | undefined {
  if (groups.comment !== undefined) return "comment";
  if (groups.string !== undefined) return "string";
  if (groups.number !== undefined) return "number";
  return KEYWORDS.has(groups.word ?? "") ? "keyword" : undefined;
}
