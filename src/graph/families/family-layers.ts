import type { Family, LayerKind, ModelSpec } from "../../model/model-spec.js";
import type { LayerScope } from "../layer-scope.js";
import { BERT_LAYERS } from "./bert.js";
import { GPT_LAYERS } from "./gpt.js";
import { LLAMA_LAYERS } from "./llama.js";
import { SWIN_LAYERS } from "./swin.js";
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

export const FAMILY_LAYERS: Readonly<Record<Family, FamilyLayers>> = {
  gpt: GPT_LAYERS,
  llama: LLAMA_LAYERS,
  bert: BERT_LAYERS,
  t5: T5_LAYERS,
  vit: VIT_LAYERS,
  swin: SWIN_LAYERS,
};
