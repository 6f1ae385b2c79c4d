import type { ModelSpec } from "../model/model-spec.js";
import type { Plan } from "../plan/plan.js";
import { strategyText } from "../plan/strategy-text.js";
import { axis, type BarTrace, baseLayout, type Figure, rowsPx } from "./figure.js";
import { hatch, strategyColor } from "./palette.js";

/** What hovering over a layer adds: "12.3 ms, 40 MB". The embedding is layer −1, the head follows the last. */
export type LayerNote = (layer: number) => string;

/**
 * Strategy map: which strategy every layer has, and on which stage. One row per stage, one cell per layer, one colour per
 * strategy; embedding (E) and head (H) at the two ends.
 */
export function strategyFigure(model: ModelSpec, plan: Plan, note: LayerNote = () => ""): Figure {
  const byStrategy = new Map<string, { base: number[]; stage: string[]; hover: string[] }>();
  const stages = plan.stageLayers.length;
  const put = (text: string, stage: number, position: number, hover: string): void => {
    const cells = byStrategy.get(text) ?? { base: [], stage: [], hover: [] };
    cells.base.push(position);
    cells.stage.push(stageName(stage, plan));
    cells.hover.push(hover);
    byStrategy.set(text, cells);
  };
  const vocabulary = strategyText(plan.vocabulary);
  put(vocabulary, 0, -1.5, withNote(`embedding: ${vocabulary}`, note(-1)));
  let layer = 0;
  for (const [stage, count] of plan.stageLayers.entries()) {
    for (let i = 0; i < count; i++, layer++) {
      const text = strategyText(plan.layers[layer]!);
      put(
        text,
        stage,
        layer - 0.5,
        withNote(`layer ${layer} (${model.layers[layer]}): ${text}`, note(layer)),
      );
    }
  }
  put(vocabulary, stages - 1, layer - 0.5, withNote(`head: ${vocabulary}`, note(layer)));
  const traces = [...byStrategy].map(([text, cells], index): BarTrace => {
    const { color, pattern } = strategyColor(index);
    return {
      type: "bar",
      orientation: "h",
      name: text,
      base: cells.base,
      x: cells.base.map(() => 1),
      y: cells.stage,
      width: 0.75,
      hovertext: cells.hover,
      hoverinfo: "text",
      marker: {
        color,
        line: { color: "rgba(255,255,255,0.8)", width: 1 },
        ...(pattern && { pattern: hatch(pattern) }),
      },
    };
  });
  const every = Math.max(1, Math.ceil(layer / 16));
  const shown = Array.from({ length: layer }, (_, i) => i).filter(
    (i) => i % every === 0 && (i > 0 || every < 3),
  );
  return {
    data: traces,
    layout: {
      ...baseLayout(`Strategy of every layer — ${model.name} on ${plan.ranks} ranks`, 150 + rowsPx(stages)),
      barmode: "overlay",
      bargap: 0.25,
      showlegend: true,
      xaxis: axis("layer", {
        tickvals: [-1, ...shown, layer],
        ticktext: ["E", ...shown.map(String), "H"],
        showgrid: false,
      }),
      yaxis: axis("", { type: "category", autorange: "reversed" }),
    },
  };
}

function withNote(text: string, note: string): string {
  return note === "" ? text : `${text}<br>${note}`;
}

/** "stage 1 · ranks 4–7" */
function stageName(stage: number, plan: Plan): string {
  const width = plan.ranks / plan.stageLayers.length;
  const first = stage * width;
  const last = first + width - 1;
  return `stage ${stage} · ${first === last ? `rank ${first}` : `ranks ${first}–${last}`}`;
}
