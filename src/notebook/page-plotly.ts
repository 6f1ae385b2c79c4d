import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { gzipSync } from "node:zlib";

/** plotly.js as an exported page carries it: once, packed, and only run if its hash is the one that was packed. */
export interface EmbeddedPlotly {
  /** gzip in base64, some 2 MB. */
  readonly packed: string;
  /** SHA-256 in base64, as a content security policy names a script. */
  readonly sha256: string;
}

let embedded: EmbeddedPlotly | undefined;

/** Path of the library's file in its npm package. */
export function plotlyPath(): string {
  return createRequire(__filename).resolve("plotly.js-dist-min/plotly.min.js");
}

export function embeddedPlotly(): EmbeddedPlotly {
  if (!embedded) {
    const source = readFileSync(plotlyPath());
    embedded = {
      packed: gzipSync(source, { level: 9 }).toString("base64"),
      sha256: createHash("sha256").update(source).digest("base64"),
    };
  }
  return embedded;
}

/** The one script of an exported page: unpacks plotly.js and draws the page's figures in place of their pictures. */
export const PAGE_SCRIPT: string = `(function(){
var packed=document.getElementById("plotly-gz");if(!packed||!window.DecompressionStream)return;
var raw=atob(packed.textContent),bytes=new Uint8Array(raw.length);for(var i=0;i<raw.length;i++)bytes[i]=raw.charCodeAt(i);
new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text().then(function(text){
var script=document.createElement("script");script.textContent=text;document.head.appendChild(script);
if(!window.Plotly)return;
document.querySelectorAll("figure[data-plot]").forEach(function(place){
var data=place.querySelector('script[type="application/json"]');if(!data)return;
var figure=JSON.parse(data.textContent),target=document.createElement("div");
target.style.height=(figure.layout.height||360)+"px";target.setAttribute("role","img");
target.setAttribute("aria-label",(figure.layout.title||{}).text||"figure");place.replaceChildren(target);
window.Plotly.newPlot(target,figure.data,figure.layout,{responsive:true,displaylogo:false});});});})();`;

export function scriptHash(script: string): string {
  return createHash("sha256").update(script).digest("base64");
}
