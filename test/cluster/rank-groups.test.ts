import fc from "fast-check";
import { expect, test } from "vitest";
import {
  dataGroup,
  gridRanks,
  placeOf,
  type RankGrid,
  rankAt,
  tensorGroup,
} from "../../src/cluster/rank-groups.js";

const grids: fc.Arbitrary<RankGrid> = fc.record({
  firstRank: fc.integer({ min: 0, max: 20 }),
  tensorDegree: fc.integer({ min: 1, max: 6 }),
  dataDegree: fc.integer({ min: 1, max: 6 }),
  strided: fc.boolean(),
});

test("consecutive groups are neighbours, strided ones lie apart", () => {
  const grid = { firstRank: 8, tensorDegree: 2, dataDegree: 4, strided: false };
  expect(tensorGroup(grid, 11)).toEqual([10, 11]);
  expect(dataGroup(grid, 11)).toEqual([9, 11, 13, 15]);
  expect(tensorGroup({ ...grid, strided: true }, 11)).toEqual([11, 15]);
  expect(dataGroup({ ...grid, strided: true }, 11)).toEqual([8, 9, 10, 11]);
});

test("every rank has one place, and its groups cross exactly there", () => {
  fc.assert(
    fc.property(grids, (grid) => {
      const ranks = gridRanks(grid);
      expect(ranks).toHaveLength(grid.tensorDegree * grid.dataDegree);
      for (const rank of ranks) {
        const { tensorIndex, dataIndex } = placeOf(grid, rank);
        expect(rankAt(grid, tensorIndex, dataIndex)).toBe(rank);
        const tensor = tensorGroup(grid, rank);
        const data = dataGroup(grid, rank);
        expect(tensor[tensorIndex]).toBe(rank);
        expect(data[dataIndex]).toBe(rank);
        expect(tensor.filter((one) => data.includes(one))).toEqual([rank]);
        for (const other of tensor) expect(tensorGroup(grid, other)).toEqual(tensor);
        for (const other of data) expect(dataGroup(grid, other)).toEqual(data);
      }
    }),
  );
});
