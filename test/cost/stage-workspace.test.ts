import { expect, test } from "vitest";
import { layerLookup } from "../../src/cost/layer-lookup.js";
import { stageWorkspaceBytes } from "../../src/cost/stage-workspace.js";
import { analyticProfile } from "../../src/model/analytic-profile.js";
import type { LayerSample } from "../../src/model/model-profile.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { smallModel } from "../program/small-model.js";
import { exampleHardware } from "../search/example-inputs.js";

test("graphs that need most and kernels that share most add up, whichever layers they are in", () => {
  const model = smallModel(2);
  const analytic = analyticProfile(model, exampleHardware(2));
  const sized = (sample: LayerSample): LayerSample =>
    sample.tensorDegree === 1
      ? { ...sample, workspaceBytes: 100, scratchBytes: 60 }
      : { ...sample, workspaceBytes: 90, scratchBytes: 10 };
  const lookup = layerLookup({ ...analytic, layers: analytic.layers.map(sized) });
  const base = { ranks: 2, globalBatch: 4 };
  const whole = uniformPlan(model, base);
  const cut = uniformPlan(model, { ...base, tensorDegree: 2 });
  expect(stageWorkspaceBytes(lookup, model, whole, 0)).toBe(100);
  expect(stageWorkspaceBytes(lookup, model, cut, 0)).toBe(90);
  const mixed = { ...whole, layers: [whole.layers[0]!, cut.layers[1]!] };
  expect(stageWorkspaceBytes(lookup, model, mixed, 0)).toBe(80 + 60);
});
