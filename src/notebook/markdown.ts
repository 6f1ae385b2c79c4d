import { Marked } from "marked";
import { escapeHtml } from "./escape-html.js";

/** Markdown as HTML that runs nothing: raw HTML in it shows as text, and links lead to pages only. */
export function markdownHtml(source: string): string {
  return renderer.parse(source, { async: false });
}

const renderer: Marked = new Marked({
  gfm: true,
  renderer: {
    html: ({ text }) => escapeHtml(text),
    link({ href, title, tokens }) {
      const text = this.parser.parseInline(tokens);
      if (!isPageLink(href)) return text;
      const hint = title ? ` title="${escapeHtml(title)}"` : "";
      return `<a href="${escapeHtml(href)}"${hint} rel="noopener">${text}</a>`;
    },
    image: ({ href, text }) =>
      /^data:image\/(png|jpeg|gif|svg\+xml);base64,/.test(href)
        ? `<img src="${escapeHtml(href)}" alt="${escapeHtml(text)}">`
        : `<em>${escapeHtml(text || href)}</em>`,
  },
});

/** Browsers skip these when they look for the scheme: "java\tscript:" is one. */
const IGNORED = /[\s\p{Cc}]/gu;

function isPageLink(href: string): boolean {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(href.replace(IGNORED, ""))?.[1]?.toLowerCase();
  return scheme === undefined || scheme === "http" || scheme === "https" || scheme === "mailto";
}
