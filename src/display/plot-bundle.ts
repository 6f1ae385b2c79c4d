import type { Figure } from "./figure.js";
import type { MimeBundle } from "./mime.js";
import { escapeXml } from "./svg.js";

/** Where a notebook server hands out plotly.js: the kernel's own folder, which every Jupyter server serves. */
const PLOTLY_PATH = "kernelspecs/galvatron/plotly.min.js";

/** The part of every plot's page that does not depend on the plot. */
const LOADER = `(function(id,figure){
var w=window,places=document.querySelectorAll('[data-galvatron-plot="'+id+'"]:not([data-drawn])');
if(!places.length)return;
function draw(P){places.forEach(function(p){if(p.hasAttribute("data-drawn"))return;p.setAttribute("data-drawn","");
var n=document.createElement("div");n.style.height=(figure.layout.height||360)+"px";n.setAttribute("role","img");
n.setAttribute("aria-label",(figure.layout.title||{}).text||"figure");p.replaceChildren(n);
P.newPlot(n,figure.data,figure.layout,{responsive:true,displaylogo:false});});}
if(w.Plotly)return draw(w.Plotly);
function base(){var c=document.getElementById("jupyter-config-data");
if(c){try{return JSON.parse(c.textContent).baseUrl}catch(e){}}return document.body.getAttribute("data-base-url");}
if(!w.galvatronPlotly)w.galvatronPlotly=new Promise(function(done,failed){
var b=base();if(!b)return failed();
var s=document.createElement("script");s.src=b.replace(/\\/$/,"")+"/${PLOTLY_PATH}";
s.onload=function(){done(w.Plotly)};s.onerror=failed;document.head.appendChild(s);});
w.galvatronPlotly.then(draw,function(){});})`;

/**
 * A figure in every form that a notebook viewer may want: plotly's own MIME type, a page that shows the picture at
 * once and becomes interactive where plotly.js can be had without the network, the picture, and words.
 * @param svg the same figure as a static picture
 */
export function plotBundle(figure: Figure, svg: string): MimeBundle {
  const title = figure.layout.title?.text ?? "Figure";
  const json = JSON.stringify({ data: figure.data, layout: figure.layout });
  const id = fingerprint(json);
  const picture = `<img alt="${escapeXml(title)}" style="max-width:100%" src="data:image/svg+xml;base64,${base64(svg)}">`;
  return {
    "application/vnd.plotly.v1+json": { data: figure.data, layout: figure.layout },
    "text/html": `<div data-galvatron-plot="${id}">${picture}</div><script>${LOADER}("${id}",${scriptSafe(json)})</script>`,
    "image/svg+xml": svg,
    "text/plain": plainText(title, figure),
  };
}

/** A plot found in a page's HTML. */
export interface FoundPlot {
  /** The static picture: one `img` element, and nothing but a picture in it. */
  readonly picture: string;
  /** The figure's JSON, safe inside a script element. */
  readonly json: string;
}

/**
 * HTML parted at the plots that `plotBundle` put into it, now or in an earlier version: text and plots in turn. Nothing of
 * a plot's script is kept.
 */
export function partPlots(html: string): (string | FoundPlot)[] {
  const parts: (string | FoundPlot)[] = [];
  let from = 0;
  for (const match of html.matchAll(PLOT)) {
    const [whole, , picture, json] = match;
    if (!isJson(json!)) continue;
    parts.push(html.slice(from, match.index), { picture: picture!, json: json! });
    from = match.index + whole.length;
  }
  return [...parts, html.slice(from)];
}

const PLOT =
  /<div data-galvatron-plot="([0-9a-f]{16})">(<img alt="[^"<>]*" style="max-width:100%" src="data:image\/svg\+xml;base64,[\w+/=]*">)<\/div><script>[^<]*?\("\1",(\{[^<]*\})\)<\/script>/g;

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** JSON that cannot end the script element it stands in, nor open a comment there. */
function scriptSafe(json: string): string {
  return json
    .replace(/</g, "\\u003c")
    .replace(/\u2028/g, "\\u2028")
    .replace(/\u2029/g, "\\u2029");
}

function plainText(title: string, figure: Figure): string {
  const traces = figure.data.length;
  return `${title} (figure of ${traces} ${traces === 1 ? "trace" : "traces"})`;
}

function base64(text: string): string {
  const bytes = new TextEncoder().encode(text);
  let binary = "";
  for (let start = 0; start < bytes.length; start += 0x8000) {
    binary += String.fromCharCode(...bytes.subarray(start, start + 0x8000));
  }
  return btoa(binary);
}

/** A name for the figure that depends on its content alone (FNV-1a, two lanes of 32 bits). */
function fingerprint(text: string): string {
  let a = 0x811c9dc5;
  let b = 0xc9dc5811;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    a = Math.imul(a ^ unit, 0x01000193);
    b = Math.imul(b ^ ((unit << 5) | (unit >>> 11)), 0x01000193);
  }
  return [a, b].map((lane) => (lane >>> 0).toString(16).padStart(8, "0")).join("");
}
