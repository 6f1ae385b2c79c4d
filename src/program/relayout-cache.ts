import type { RankGrid } from "../cluster/rank-groups.js";
import { type RelayoutPiece, relayoutPieces } from "./relayout.js";

/** The pieces of one layout change, by the ranks at either end; both keep the order of `relayoutPieces`. */
export interface RelayoutMoves {
  readonly bySender: ReadonlyMap<number, readonly RelayoutPiece[]>;
  readonly byReceiver: ReadonlyMap<number, readonly RelayoutPiece[]>;
  /** Some piece changes its rank. */
  readonly moves: boolean;
}

/** Layout changes found before: the same for every micro-batch and every rank. */
export class RelayoutCache {
  readonly #known = new Map<string, RelayoutMoves>();

  find(source: RankGrid, target: RankGrid, sequence: number, samples: number): RelayoutMoves {
    const key = [...gridKey(source), ...gridKey(target), sequence, samples].join();
    let moves = this.#known.get(key);
    if (moves === undefined) {
      moves = group(relayoutPieces(source, target, sequence, samples));
      this.#known.set(key, moves);
    }
    return moves;
  }
}

function gridKey({ firstRank, tensorDegree, dataDegree, strided }: RankGrid): readonly (number | boolean)[] {
  return [firstRank, tensorDegree, dataDegree, strided];
}

function group(pieces: readonly RelayoutPiece[]): RelayoutMoves {
  const bySender = new Map<number, RelayoutPiece[]>();
  const byReceiver = new Map<number, RelayoutPiece[]>();
  const put = (map: Map<number, RelayoutPiece[]>, rank: number, piece: RelayoutPiece): void => {
    const list = map.get(rank);
    if (list === undefined) map.set(rank, [piece]);
    else list.push(piece);
  };
  for (const piece of pieces) {
    put(bySender, piece.from, piece);
    put(byReceiver, piece.to, piece);
  }
  return { bySender, byReceiver, moves: pieces.some(({ from, to }) => from !== to) };
}
