import type { MimeBundle } from "../display/mime.js";
import { partPlots } from "../display/plot-bundle.js";
import type { Control, Controls } from "./control.js";
import { escapeHtml } from "./escape-html.js";

/** The kernel's name for the channel over which pages send what a person moved. */
export const INTERACT_TARGET: string = "galvatron.interact";

/**
 * Joins the controls of a page with the kernel that drew them. A stock JupyterLab needs nothing more: a trusted
 * output may open a WebSocket to its own server, which knows the person by its cookie. At most one request is under
 * way; what was moved meanwhile goes next. Elsewhere the controls stay disabled and the picture says it all.
 * Keys pressed on a control are the control's: the notebook, which would take the arrows, does not hear them. When the
 * notebook's own copy takes the page's place, the control that had the focus has it again.
 */
const SCRIPT = `(function(id,kernel,target){
var root=document.querySelector('[data-galvatron-interact="'+id+'"]:not([data-joined])');if(!root||!kernel)return;
root.setAttribute("data-joined","");
if(!window.galvatronKeys){window.galvatronKeys=true;window.addEventListener("keydown",function(e){
if(e.target.closest&&e.target.closest("[data-galvatron-interact]"))e.stopPropagation();},true);}
var config=document.getElementById("jupyter-config-data"),base;
try{base=config?JSON.parse(config.textContent).baseUrl:document.body.getAttribute("data-base-url")}catch(e){}
if(!base)return;
var url=new URL(base.replace(/\\/?$/,"/")+"api/kernels/"+kernel+"/channels",location.href);url.protocol=url.protocol.replace("http","ws");
function name(){return Array.from(crypto.getRandomValues(new Uint8Array(16)),function(b){return b.toString(16).padStart(2,"0")}).join("")}
var session=name(),comm=name(),socket,ready=false,waiting=false,moved=null,shown=null,form="";
url.searchParams.set("session_id",session);
var inputs=root.querySelectorAll("[data-control]"),view=root.querySelector("[data-view]");
function send(type,data){var content={comm_id:comm,data:data};if(type==="comm_open")content.target_name=target;
socket.send(JSON.stringify({channel:"shell",header:{msg_id:name(),session:session,username:"",date:new Date().toISOString(),msg_type:type,version:"5.3"},parent_header:{},metadata:{},content:content}));}
function values(){var all={};inputs.forEach(function(i){all[i.dataset.control]=JSON.parse(i.tagName==="SELECT"?i.value:String(i.valueAsNumber));
var o=i.parentNode.querySelector("output");if(o)o.textContent=i.value+(i.dataset.unit?" "+i.dataset.unit:"");});return all;}
function ask(settled){moved={values:values(),settled:settled||Boolean(moved&&moved.settled)};if(!ready||waiting)return;waiting=true;var m=moved;moved=null;send("comm_msg",m);}
function remember(i){var key=id+" "+i.dataset.control;
i.addEventListener("focus",function(){window.galvatronFocus=key});
i.addEventListener("blur",function(){setTimeout(function(){if(i.isConnected&&document.activeElement!==i)window.galvatronFocus=null})});
if(window.galvatronFocus===key&&document.activeElement===document.body)i.focus({preventScroll:true});}
function draw(place,part){place.style.height=(part.figure.layout.height||360)+"px";
place.setAttribute("role","img");place.setAttribute("aria-label",(part.figure.layout.title||{}).text||"figure");
window.Plotly.react(place,part.figure.data,part.figure.layout,{responsive:true,displaylogo:false});}
function show(parts){shown=parts;
if(!window.Plotly){form="";view.innerHTML=parts.map(function(p){return p.html}).join("");return;}
var next=parts.map(function(p){return p.figure?"f":"w"}).join("");
if(next!==form){form=next;view.querySelectorAll(".js-plotly-plot").forEach(function(n){window.Plotly.purge(n)});
view.replaceChildren.apply(view,parts.map(function(){return document.createElement("div")}));}
parts.forEach(function(p,i){var place=view.children[i];if(p.figure)draw(place,p);else if(place.innerHTML!==p.html)place.innerHTML=p.html;});}
function leave(reason){ready=false;inputs.forEach(function(i){i.disabled=true});
if(reason){var words=document.createElement("p");words.textContent=reason;root.appendChild(words);}socket.close();}
socket=new WebSocket(url);
socket.onopen=function(){send("comm_open",{id:id});ready=true;inputs.forEach(function(i){i.disabled=false;remember(i);
i.addEventListener("input",function(){ask(false)});i.addEventListener("change",function(){ask(true)});});};
socket.onmessage=function(event){if(!root.isConnected){socket.close();return;}
if(typeof event.data!=="string"||event.data.indexOf(comm)<0)return;var m=JSON.parse(event.data);
if(!m.content||m.content.comm_id!==comm)return;
if(m.header.msg_type==="comm_close")return leave(m.content.data.reason);
if(m.header.msg_type!=="comm_msg")return;
if(m.content.data.moved)waiting=false;show(m.content.data.parts);if(moved)ask(false);};
if(!window.Plotly&&!window.galvatronPlotly)window.galvatronPlotly=new Promise(function(done,failed){var s=document.createElement("script");
s.src=base.replace(/\\/?$/,"/")+"kernelspecs/galvatron/plotly.min.js";s.onload=function(){done(window.Plotly)};s.onerror=failed;document.head.appendChild(s);});
if(window.galvatronPlotly)window.galvatronPlotly.then(function(){if(shown&&!form)show(shown)},function(){});
})`;

/** Words, or a figure's data with the picture that stands for it where no plotly is. */
interface StatePart {
  readonly html: string;
  readonly figure?: unknown;
}

/** What a page shows for one position of its controls, from top to bottom. */
export type InteractState = readonly StatePart[];

export function interactState(bundle: MimeBundle): InteractState {
  const figure = bundle["application/vnd.plotly.v1+json"];
  const svg = bundle["image/svg+xml"];
  const html = bundle["text/html"];
  const words = escapeHtml(String(bundle["text/plain"] ?? ""));
  if (figure === undefined && typeof html === "string") {
    return partPlots(html).flatMap((part): StatePart[] => {
      if (typeof part === "string") return part.trim() === "" ? [] : [{ html: part }];
      return [{ html: part.picture, figure: JSON.parse(part.json) as unknown }];
    });
  }
  if (typeof svg !== "string") return [{ html: `<pre>${words}</pre>` }];
  const source = Buffer.from(svg).toString("base64");
  const picture = `<img alt="${words}" style="max-width:100%" src="data:image/svg+xml;base64,${source}">`;
  return [{ html: picture, ...(figure === undefined ? {} : { figure }) }];
}

export interface InteractPage {
  readonly id: string;
  readonly kernelId: string | undefined;
  readonly controls: Controls;
  readonly values: Readonly<Record<string, string | number>>;
}

/** The controls above their picture. Controls are disabled until a page has joined them with their kernel. */
export function interactHtml(page: InteractPage, state: InteractState): string {
  const controls = Object.entries(page.controls).map(([name, control]) =>
    controlHtml(name, control, page.values[name]!),
  );
  const argument = (value: unknown): string => JSON.stringify(value ?? null).replace(/</g, "\\u003c");
  return `<div data-galvatron-interact="${page.id}"><div style="display:flex;flex-wrap:wrap;gap:.4rem 1.6rem;padding:.3rem .2rem">${controls.join("")}</div><div data-view>${state.map(({ html }) => html).join("")}</div></div><script>${SCRIPT}(${argument(page.id)},${argument(page.kernelId)},${argument(INTERACT_TARGET)})</script>`;
}

function controlHtml(name: string, control: Control, value: string | number): string {
  const label = `<span>${escapeHtml(name)}</span>`;
  const common = `data-control="${escapeHtml(name)}" aria-label="${escapeHtml(name)}" disabled`;
  const style = 'style="display:inline-flex;align-items:center;gap:.5rem"';
  if (control.kind === "slider") {
    const { min, max, step, unit } = control;
    const number = `<output style="min-width:4.5em">${value}${unit ? ` ${escapeHtml(unit)}` : ""}</output>`;
    return `<label ${style}>${label}<input type="range" ${common} data-unit="${escapeHtml(unit)}" min="${min}" max="${max}" step="${step}" value="${value}">${number}</label>`;
  }
  const options = control.options.map(
    (option) =>
      `<option value="${escapeHtml(JSON.stringify(option))}"${option === value ? " selected" : ""}>${escapeHtml(String(option))}</option>`,
  );
  return `<label ${style}>${label}<select ${common}>${options.join("")}</select></label>`;
}
