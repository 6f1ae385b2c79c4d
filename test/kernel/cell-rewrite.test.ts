import fc from "fast-check";
import { expect, it } from "vitest";
import { CellRewrite } from "../../kernel/cell-rewrite.js";

it("leads every typed character back to where it was typed", () => {
  const cell = fc
    .array(fc.constantFrom("a", "{", "\n"), { minLength: 1, maxLength: 30 })
    .map((all) => all.join(""));
  const input = cell.chain((typed) =>
    fc.record({
      typed: fc.constant(typed),
      offsets: fc.uniqueArray(fc.nat(typed.length), { maxLength: 4 }),
    }),
  );
  fc.assert(
    fc.property(input, ({ typed, offsets }) => {
      const insertions = offsets.sort((a, b) => a - b).map((at) => ({ at, text: "·".repeat((at % 3) + 1) }));
      const rewrite = new CellRewrite(typed, insertions);
      // Oracle: typed characters are those that are not "·", in order.
      let line = 0;
      let character = 0;
      let offset = 0;
      for (const letter of rewrite.text) {
        if (letter !== "·") {
          expect(rewrite.typedPlace(line, character).offset).toBe(offset);
          offset++;
        }
        character++;
        if (letter === "\n") {
          line++;
          character = 0;
        }
      }
      expect(offset).toBe(typed.length);
    }),
  );
});
