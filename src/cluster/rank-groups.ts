/**
 * Ranks of a stage as a grid of tensor index × data index. Consecutive tensor groups are neighbours
 * (rank = tensor + data · tensorDegree), strided ones lie `dataDegree` apart (rank = data + tensor · dataDegree).
 */
export interface RankGrid {
  readonly firstRank: number;
  readonly tensorDegree: number;
  readonly dataDegree: number;
  readonly strided: boolean;
}

/** Where a rank stands in a {@link RankGrid}. */
export interface RankPlace {
  readonly tensorIndex: number;
  readonly dataIndex: number;
}

export function rankAt(grid: RankGrid, tensorIndex: number, dataIndex: number): number {
  const local = grid.strided
    ? dataIndex + tensorIndex * grid.dataDegree
    : tensorIndex + dataIndex * grid.tensorDegree;
  return grid.firstRank + local;
}

export function placeOf(grid: RankGrid, rank: number): RankPlace {
  const local = rank - grid.firstRank;
  return grid.strided
    ? { tensorIndex: Math.floor(local / grid.dataDegree), dataIndex: local % grid.dataDegree }
    : { tensorIndex: local % grid.tensorDegree, dataIndex: Math.floor(local / grid.tensorDegree) };
}

/** Ranks that split the same samples with `rank`, in the order of their pieces. */
export function tensorGroup(grid: RankGrid, rank: number): readonly number[] {
  const { dataIndex } = placeOf(grid, rank);
  return Array.from({ length: grid.tensorDegree }, (_, tensor) => rankAt(grid, tensor, dataIndex));
}

/** Ranks that hold the same piece of every weight as `rank`, in the order of their samples. */
export function dataGroup(grid: RankGrid, rank: number): readonly number[] {
  const { tensorIndex } = placeOf(grid, rank);
  return Array.from({ length: grid.dataDegree }, (_, data) => rankAt(grid, tensorIndex, data));
}

/** All ranks of the grid, ascending. */
export function gridRanks(grid: RankGrid): readonly number[] {
  return Array.from({ length: grid.tensorDegree * grid.dataDegree }, (_, local) => grid.firstRank + local);
}
