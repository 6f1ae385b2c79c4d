import { type FoundPlot, partPlots } from "../display/plot-bundle.js";
import { ansiHtml } from "./ansi-html.js";
import { escapeHtml } from "./escape-html.js";
import { highlightHtml } from "./highlight.js";
import { markdownHtml } from "./markdown.js";
import type { CellOutput, CodeCell, MimeData, Notebook, NotebookCell } from "./notebook-json.js";
import { embeddedPlotly, PAGE_SCRIPT, scriptHash } from "./page-plotly.js";
import { PAGE_STYLE } from "./page-style.js";

const PLOTLY_TYPE = "application/vnd.plotly.v1+json";

/**
 * An executed notebook as one HTML file that needs nothing else: figures are pictures that become interactive by the
 * plotly.js embedded once. No script but that one and the page's own can run, whatever the outputs hold.
 */
export function notebookPage(notebook: Notebook, name: string): string {
  const title = titleOf(notebook) ?? name;
  const body = notebook.cells.map(cellHtml).join("\n");
  const plotly = body.includes("<figure data-plot>") ? embeddedPlotly() : undefined;
  const scripts = plotly ? `'sha256-${scriptHash(PAGE_SCRIPT)}' 'sha256-${plotly.sha256}'` : "'none'";
  const policy = `default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src ${scripts}; base-uri 'none'; form-action 'none'`;
  const engine = plotly
    ? `<script id="plotly-gz" type="text/plain">${plotly.packed}</script>\n<script>${PAGE_SCRIPT}</script>\n`
    : "";
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${PAGE_STYLE}</style>
</head>
<body>
<main>
${body}
</main>
${engine}</body>
</html>
`;
}

function titleOf({ cells }: Notebook): string | undefined {
  const text = cells.find(({ kind }) => kind === "markdown")?.source ?? "";
  return /^#\s+(.+)$/m.exec(text)?.[1];
}

function cellHtml(cell: NotebookCell): string {
  if (cell.kind === "code")
    return cell.source.trim() === "" && cell.outputs.length === 0 ? "" : codeHtml(cell);
  return cell.kind === "markdown"
    ? `<section class="text">${markdownHtml(cell.source)}</section>`
    : `<pre class="raw">${escapeHtml(cell.source)}</pre>`;
}

function codeHtml(cell: CodeCell): string {
  const count = cell.executionCount === null ? "" : String(cell.executionCount);
  const outputs = cell.outputs.map(outputHtml).join("\n");
  return `<section class="code"><div class="count">${count}</div><div class="cell"><pre class="source">${highlightHtml(cell.source)}</pre>
${outputs}</div></section>`;
}

function outputHtml(output: CellOutput): string {
  switch (output.kind) {
    case "stream":
      return `<pre class="${output.name === "stderr" ? "stderr" : "stdout"}">${ansiHtml(output.text)}</pre>`;
    case "error":
      return `<pre class="error">${ansiHtml(output.traceback.join("\n"))}</pre>`;
    default:
      return `<div class="output">${richHtml(output.data)}</div>`;
  }
}

/** The richest form of a value that a page can show. */
function richHtml(data: MimeData): string {
  const figure = data[PLOTLY_TYPE];
  const svg = data["image/svg+xml"];
  const png = data["image/png"];
  const html = data["text/html"];
  const markdown = data["text/markdown"];
  if (figure !== undefined) {
    const json = JSON.stringify(figure).replace(/</g, "\\u003c");
    return figureHtml({ picture: typeof svg === "string" ? pictureHtml(svg, data) : "", json });
  }
  if (typeof html === "string") {
    return partPlots(html)
      .map((part) => (typeof part === "string" ? harmless(part) : figureHtml(part)))
      .join("");
  }
  if (typeof markdown === "string") return markdownHtml(markdown);
  if (typeof svg === "string") return pictureHtml(svg, data);
  if (typeof png === "string") return `<img alt="" src="data:image/png;base64,${escapeHtml(png.trim())}">`;
  return `<pre>${ansiHtml(String(data["text/plain"] ?? ""))}</pre>`;
}

function figureHtml({ picture, json }: FoundPlot): string {
  return `<figure data-plot>${picture}<script type="application/json">${json}</script></figure>`;
}

function pictureHtml(svg: string, data: MimeData): string {
  const words = escapeHtml(String(data["text/plain"] ?? "figure"));
  return `<img alt="${words}" src="data:image/svg+xml;base64,${Buffer.from(svg).toString("base64")}">`;
}

const ACTIVE_ELEMENTS = /<\/?(script|iframe|frame|object|embed|link|meta|base|form|style)\b[^>]*>/gi;
const SCRIPT_BODIES = /<script\b[^>]*>[\s\S]*?<\/script\s*>/gi;

/** Takes active elements out of a value's own HTML. The page's security policy is the lock; this is the tidy door. */
function harmless(html: string): string {
  return html
    .replace(SCRIPT_BODIES, "")
    .replace(ACTIVE_ELEMENTS, "")
    .replace(/\s(on\w+)\s*=\s*("[^"]*"|'[^']*'|[^\s>]+)/gi, "")
    .replace(/(href|src|action)\s*=\s*(["']?)\s*javascript:[^"'\s>]*/gi, "$1=$2#");
}
