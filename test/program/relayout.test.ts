import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { placeOf, type RankGrid } from "../../src/cluster/rank-groups.js";
import { blockElements, borderBlock, relayoutPieces, sameLayout } from "../../src/program/relayout.js";

const RANKS = 8;

function grid(
  tensorDegree: number,
  strided: boolean,
  ranks: number = RANKS,
  firstRank: number = 0,
): RankGrid {
  return { firstRank, tensorDegree, dataDegree: ranks / tensorDegree, strided };
}

/** The slow way: who has position s of sample b, element by element. */
function ownerOf(layout: RankGrid, s: number, b: number, sequence: number, samples: number): number {
  for (let rank = layout.firstRank; ; rank++) {
    const { tensorIndex, dataIndex } = placeOf(layout, rank);
    if (
      Math.floor((s * layout.tensorDegree) / sequence) === tensorIndex &&
      Math.floor((b * layout.dataDegree) / samples) === dataIndex
    ) {
      return rank;
    }
  }
}

const layouts = [1, 2, 4, 8].flatMap((degree) =>
  degree === 1 || degree === RANKS ? [grid(degree, false)] : [grid(degree, false), grid(degree, true)],
);

describe("all pairs of layouts on 8 ranks", () => {
  for (const source of layouts) {
    for (const target of layouts) {
      const name = (layout: RankGrid) => `tensor ${layout.tensorDegree}${layout.strided ? " strided" : ""}`;
      test(`${name(source)} → ${name(target)} moves exactly what changes its owner`, () => {
        const [sequence, samples] = [16, 8];
        const pieces = relayoutPieces(source, target, sequence, samples);
        let moving = 0;
        const covered = new Set<string>();
        for (let s = 0; s < sequence; s++) {
          for (let b = 0; b < samples; b++) {
            const from = ownerOf(source, s, b, sequence, samples);
            const to = ownerOf(target, s, b, sequence, samples);
            if (from !== to) moving++;
            const holding = pieces.filter(
              ({ block }) =>
                s >= block.sequenceStart &&
                s < block.sequenceEnd &&
                b >= block.sampleStart &&
                b < block.sampleEnd,
            );
            expect(holding.map((piece) => [piece.from, piece.to])).toEqual([[from, to]]);
            covered.add(`${s},${b}`);
          }
        }
        const moved = pieces
          .filter(({ from, to }) => from !== to)
          .reduce((sum, { block }) => sum + blockElements(block), 0);
        expect(moved).toBe(moving);
        expect(covered.size).toBe(sequence * samples);
        if (sameLayout(source, target)) expect(moved).toBe(0);
      });
    }
  }
});

test("pieces of any two grids cover the border once, in order of sender and receiver, across stages too", () => {
  const degrees = fc.constantFrom(1, 2, 3, 6);
  fc.assert(
    fc.property(degrees, degrees, fc.boolean(), fc.boolean(), fc.boolean(), (a, b, sa, sb, next) => {
      const source = grid(a, sa, 6);
      const target = grid(b, sb, 6, next ? 6 : 0);
      const pieces = relayoutPieces(source, target, 12, 12);
      expect(pieces.reduce((sum, { block }) => sum + blockElements(block), 0)).toBe(144);
      const order = pieces.map(({ from, to }) => from * 100 + to);
      expect([...order].sort((x, y) => x - y)).toEqual(order);
      for (const { from, to, block } of pieces) {
        const have = borderBlock(source, from, 12, 12);
        const need = borderBlock(target, to, 12, 12);
        for (const outer of [have, need]) {
          expect(block.sequenceStart).toBeGreaterThanOrEqual(outer.sequenceStart);
          expect(block.sequenceEnd).toBeLessThanOrEqual(outer.sequenceEnd);
          expect(block.sampleStart).toBeGreaterThanOrEqual(outer.sampleStart);
          expect(block.sampleEnd).toBeLessThanOrEqual(outer.sampleEnd);
        }
        expect(blockElements(block)).toBeGreaterThan(0);
      }
    }),
  );
});
