import type { Family, LayerKind, ModelSpec } from "../../model/model-spec.js";
import type { LayerScope } from "../layer-scope.js";
import { GraphError } from "../ops/op-definition.js";
import { BERT_LAYERS } from "./bert.js";
import { GPT_LAYERS } from "./gpt.js";
import { LLAMA_LAYERS } from "./llama.js";
import { T5_LAYERS } from "./t5.js";
import { VIT_LAYERS } from "./vit.js";

/** How a family writes its layers down. */
export interface FamilyLayers {
  /** Data to the first activation. */
  readonly embedding: (scope: LayerScope, model: ModelSpec) => void;
  /** Activation to activation. */
  readonly body: (scope: LayerScope, model: ModelSpec, kind: LayerKind) => void;
  /** The last activation to the loss. */
  readonly head: (scope: LayerScope, model: ModelSpec) => void;
}

function notYet(family: Family): FamilyLayers {
  const refuse = (): never => {
    throw new GraphError(`the graphs of family ${family} are not written yet`);
  };
  return { embedding: refuse, body: refuse, head: refuse };
}

export const FAMILY_LAYERS: Readonly<Record<Family, FamilyLayers>> = {
  gpt: GPT_LAYERS,
  llama: LLAMA_LAYERS,
  bert: BERT_LAYERS,
  t5: T5_LAYERS,
  vit: VIT_LAYERS,
  swin: notYet("swin"),
};
