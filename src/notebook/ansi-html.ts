import { escapeHtml } from "./escape-html.js";

const ESCAPE = "\u001b";
const SEQUENCE: RegExp = new RegExp(`${ESCAPE}\\[([\\d;]*)m`, "g");
const OTHER_SEQUENCES: RegExp = new RegExp(`${ESCAPE}\\[[\\d;?]*[A-Za-ln-z]`, "g");
const COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

/** Terminal text as HTML: colours and weights become spans of class `ansi-…`, everything else is escaped. */
export function ansiHtml(text: string): string {
  const clean = overwritten(text.replace(OTHER_SEQUENCES, ""));
  const active = new Set<string>();
  let html = "";
  let at = 0;
  const flush = (until: number): void => {
    const part = escapeHtml(clean.slice(at, until));
    if (part === "") return;
    html += active.size === 0 ? part : `<span class="${[...active].join(" ")}">${part}</span>`;
  };
  for (const found of clean.matchAll(SEQUENCE)) {
    flush(found.index);
    at = found.index + found[0].length;
    for (const code of (found[1] || "0").split(";").map(Number)) apply(code, active);
  }
  flush(clean.length);
  return html;
}

function apply(code: number, active: Set<string>): void {
  if (code === 0) active.clear();
  else if (code === 1) active.add("ansi-bold");
  else if (code === 2) active.add("ansi-dim");
  const colour = COLOURS[code >= 90 ? code - 90 : code - 30];
  if (code < 30 || code > 97 || (code > 39 && code < 90)) return;
  for (const name of COLOURS) active.delete(`ansi-${name}`);
  if (colour) active.add(`ansi-${colour}`);
}

/** A carriage return means that the line is written over, as progress bars do. */
function overwritten(text: string): string {
  return text.replace(/\r\n/g, "\n").replace(/[^\n]*\r(?=[^\n])/g, "");
}
