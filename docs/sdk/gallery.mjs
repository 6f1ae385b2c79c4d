// The gallery: one figure of every kind, taken from what the notebooks show, as SVG with the question it answers.
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Question, how to get it, where it was drawn, and how its title begins. */
const FIGURES = [
  ["strategy-map", "Strategy map", "Which strategy has every layer, and on which stage?", "plan", "search", "Strategy of every layer"],
  ["where-the-time-goes", "Where the time goes", "What does a step spend its time on, and how far is it from the bound?", "plan.explain()", "search", "Where a step's"],
  ["memory", "Memory against the budget", "What fills the memory of every stage?", "plan", "search", "Memory of the fullest rank"],
  ["timeline", "Timeline", "What does every rank do when, and where does it wait?", "plan.timeline(), run.timeline(), run.saveTrace(path) for Perfetto", "parallelism", "One step"],
  ["predicted-and-measured", "Predicted above measured", "Where do prediction and reality part?", "run.timeline()", "predicted-vs-measured", "One step"],
  ["hardware", "Hardware", "What can the machine do? Points as measured, lines as fitted.", "cluster().profile()", "quickstart", "this machine"],
  ["layer-times", "Layer times", "What does a layer cost, by its split and its micro-batch?", "model(…).profile()", "quickstart", "gpt: time of one layer"],
  ["search-landscape", "Search landscape", "What does memory buy, and why did the other choices lose?", "plan.landscape()", "search", "39 outer choices"],
  ["what-if", "What if", "What would the best plan reach with other memory, links or GPUs?", 'plan.sweep({ memory: ["8GB", "16GB"] })', "search", "What if the memory"],
  ["who-holds-what", "Who holds what", "Which share of a layer's states has every rank?", "plan.holders(layer)", "parallelism", "Who holds what"],
  ["training", "Training", "Does it learn, how fast, how well are the devices used, and does memory stay as predicted?", "plan.train({ … })", "quickstart", "Training"],
  ["accuracy", "Predicted beside measured", "How good was the prediction of time and memory?", "run.accuracy()", "quickstart", "Step time"],
  ["compare", "Compare", "How do plans or runs differ in time and memory?", "compare(plan, run, …)", "parallelism", "Side by side"],
];

/** Page and pictures. `require` resolves from the built package. */
export function gallery(root, require) {
  const { figureToSvg } = require("./display/svg.js");
  const { partPlots } = require("./display/plot-bundle.js");
  const pictures = [];
  const sections = FIGURES.map(([name, title, question, code, notebook, begins]) => {
    // The last of its kind: notebooks begin with the simple ones.
    const figure = figuresOf(join(root, "notebooks", `${notebook}.ipynb`), partPlots).findLast((one) =>
      one.layout.title?.text.startsWith(begins),
    );
    if (!figure) throw new Error(`${notebook}.ipynb shows no figure whose title begins with "${begins}": run it in place.`);
    const svg = figureToSvg(figure);
    pictures.push({ file: `figures/${name}.svg`, svg });
    const sizes = [JSON.stringify(figure).length, svg.length].map((size) => `${(size / 1000).toFixed(1)} kB`);
    return `## ${title}\n\n${question}\n\n\`${code}\` (here from [${notebook}](../../notebooks/${notebook}.ipynb); data ${sizes[0]}, picture ${sizes[1]})\n\n![${title}](figures/${name}.svg)\n`;
  });
  const page = `# Gallery

Every kind of figure, as the product drew it in the notebooks. In JupyterLab and in exported pages they are interactive; these are the
pictures that stand wherever no script runs. Colours are Okabe and Ito's; what a grey print could not tell apart is hatched.

${sections.join("\n")}`;
  return { page, pictures };
}

function figuresOf(file, partPlots) {
  const { cells } = JSON.parse(readFileSync(file, "utf8"));
  return cells.flatMap((cell) =>
    (cell.outputs ?? []).flatMap(({ data = {} }) => {
      const figure = data["application/vnd.plotly.v1+json"];
      if (figure) return [figure];
      const html = [data["text/html"] ?? ""].flat().join("");
      return partPlots(html).flatMap((part) => (typeof part === "string" ? [] : [JSON.parse(part.json)]));
    }),
  );
}
