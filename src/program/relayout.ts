import { gridRanks, placeOf, type RankGrid, rankAt } from "../cluster/rank-groups.js";

/** A block of a border activation `[sequence, samples, …]` of one micro-batch: half-open ranges of its first two axes. */
export interface BorderBlock {
  readonly sequenceStart: number;
  readonly sequenceEnd: number;
  readonly sampleStart: number;
  readonly sampleEnd: number;
}

/** A block that one rank has and another needs (or the same: then it only changes its place). */
export interface RelayoutPiece {
  readonly from: number;
  readonly to: number;
  readonly block: BorderBlock;
}

/** Whether two grids lay a border out alike on the same ranks. */
export function sameLayout(a: RankGrid, b: RankGrid): boolean {
  return (
    a.firstRank === b.firstRank &&
    a.tensorDegree === b.tensorDegree &&
    a.dataDegree === b.dataDegree &&
    a.strided === b.strided
  );
}

/** What a rank holds of a border: the sequence is cut over its tensor group, the samples over the data ranks. */
export function borderBlock(grid: RankGrid, rank: number, sequence: number, samples: number): BorderBlock {
  const { tensorIndex, dataIndex } = placeOf(grid, rank);
  const positions = sequence / grid.tensorDegree;
  const share = samples / grid.dataDegree;
  return {
    sequenceStart: tensorIndex * positions,
    sequenceEnd: (tensorIndex + 1) * positions,
    sampleStart: dataIndex * share,
    sampleEnd: (dataIndex + 1) * share,
  };
}

/**
 * The pieces that turn one layout of a `[sequence, samples, …]` border into another, ordered by sender, then receiver.
 * Both layouts cut the border without overlap, so every element is in exactly one piece: the pieces between
 * different ranks are the fewest bytes that any redistribution can move.
 */
export function relayoutPieces(
  source: RankGrid,
  target: RankGrid,
  sequence: number,
  samples: number,
): readonly RelayoutPiece[] {
  const pieces: RelayoutPiece[] = [];
  for (const from of gridRanks(source)) {
    const have = borderBlock(source, from, sequence, samples);
    const positions = sequence / target.tensorDegree;
    const share = samples / target.dataDegree;
    const receivers: RelayoutPiece[] = [];
    const lastTensor = Math.ceil(have.sequenceEnd / positions);
    const lastData = Math.ceil(have.sampleEnd / share);
    for (let tensor = Math.floor(have.sequenceStart / positions); tensor < lastTensor; tensor++) {
      for (let data = Math.floor(have.sampleStart / share); data < lastData; data++) {
        receivers.push({
          from,
          to: rankAt(target, tensor, data),
          block: {
            sequenceStart: Math.max(have.sequenceStart, tensor * positions),
            sequenceEnd: Math.min(have.sequenceEnd, (tensor + 1) * positions),
            sampleStart: Math.max(have.sampleStart, data * share),
            sampleEnd: Math.min(have.sampleEnd, (data + 1) * share),
          },
        });
      }
    }
    pieces.push(...receivers.sort((a, b) => a.to - b.to));
  }
  return pieces;
}

/** Positions × samples of a block. */
export function blockElements(block: BorderBlock): number {
  return (block.sequenceEnd - block.sequenceStart) * (block.sampleEnd - block.sampleStart);
}
