import { describe, expect, it } from "vitest";
import { isGalvatronError } from "../../src/base/errors.js";
import { type PlanDocument, parsePlanJson, planJsonText } from "../../src/model/plan-json.js";
import { planDocument } from "../../src/search/plan-document.js";
import { search } from "../../src/search/search.js";
import { randomNumbers } from "./brute-force.js";
import { exampleInputs } from "./example-inputs.js";

function exampleDocument(): PlanDocument {
  const inputs = { ...exampleInputs(4, 300, 4), space: { pipelineDegrees: [2] } };
  const provenance = { model: "a1", modelProfile: "b2", hardware: "c3", version: "0.0.0" };
  return planDocument(inputs.model, search(inputs), provenance);
}

/** Changes one random place of a JSON value: what people and machines do to files. */
function damage(value: unknown, random: () => number): unknown {
  const bad = [0, -1, 1.5, 1e300, null, "x", true, [], {}, Number.MAX_SAFE_INTEGER, "NaN", "1"];
  const pickBad = (): unknown => bad[Math.floor(random() * bad.length)];
  if (typeof value !== "object" || value === null) return pickBad();
  const keys = Object.keys(value);
  if (keys.length === 0 || random() < 0.03) return pickBad();
  const key = keys[Math.floor(random() * keys.length)]!;
  const part = (value as Record<string, unknown>)[key];
  if (Array.isArray(value)) {
    const copy = [...(value as unknown[])];
    if (random() < 0.2) copy.splice(Number(key), 1);
    else copy[Number(key)] = damage(part, random);
    return copy;
  }
  const copy: Record<string, unknown> = { ...value };
  if (random() < 0.15) delete copy[key];
  else if (random() < 0.1) copy[`${key}s`] = part;
  else copy[key] = damage(part, random);
  return copy;
}

describe("plan files", () => {
  it("come back as they were written, byte for byte", () => {
    const document = exampleDocument();
    const text = planJsonText(document);
    expect(parsePlanJson(text)).toEqual(document);
    expect(planJsonText(parsePlanJson(text))).toBe(text);
  });

  it("name the wrong field", () => {
    const file = JSON.parse(planJsonText(exampleDocument()));
    file.plan.layers[3].tensorDegree = "two";
    expect(() => parsePlanJson(JSON.stringify(file))).toThrow(/plan\.layers\[3\]\.tensorDegree/);
    const more = JSON.parse(planJsonText(exampleDocument()));
    more.plan.zero = 3;
    expect(() => parsePlanJson(JSON.stringify(more))).toThrow(/plan\.zero/);
  });

  it("are refused in words when they are damaged, and never crash the reader", () => {
    const text = planJsonText(exampleDocument());
    const original: unknown = JSON.parse(text);
    const random = randomNumbers(7);
    let refused = 0;
    for (let round = 0; round < 10_000; round++) {
      let changed: string;
      if (round % 10 === 0) changed = text.slice(0, Math.floor(random() * text.length));
      else changed = JSON.stringify(damage(original, random));
      try {
        parsePlanJson(changed);
      } catch (error) {
        if (!isGalvatronError(error)) throw error;
        expect(error.code).toBe("PLAN_INVALID");
        expect(String(error.context.path).length).toBeGreaterThan(0);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(7000);
  });
});
