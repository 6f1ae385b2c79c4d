import type { LayerKind, ModelSpec } from "../model/model-spec.js";
import type { LayerScope } from "./layer-scope.js";

/** How a family writes its layers down. */
export interface FamilyLayers {
  /** Data to the first activation. */
  readonly embedding: (scope: LayerScope, model: ModelSpec) => void;
  /** Activation to activation. */
  readonly body: (scope: LayerScope, model: ModelSpec, kind: LayerKind) => void;
  /** The last activation to the loss. */
  readonly head: (scope: LayerScope, model: ModelSpec) => void;
}
