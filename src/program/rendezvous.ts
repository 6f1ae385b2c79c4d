import type { Instruction, Program, TransferInstruction } from "./program.js";
import { streamIndex } from "./streams.js";

/** Which instructions of different ranks happen together: members of a collective, the two halves of a transfer. */
export interface Rendezvous {
  /** By rank, then instruction: number of the meeting, or -1 for what a rank does alone. */
  readonly meetingOf: readonly Int32Array[];
  /** By meeting: how many must come. */
  readonly expected: readonly number[];
  /** By meeting: `[rank0, instruction0, rank1, instruction1, …]`, who comes. */
  readonly members: readonly (readonly number[])[];
}

/**
 * Pairs what belongs together by order alone: the n-th collective of a group on a stream with the n-th of every other
 * member, the n-th send from a to b in one direction with the n-th receive. Whether they fit is `verifyProgram`'s.
 */
export function findRendezvous(programs: readonly Program[]): Rendezvous {
  const ids = new Map<string, number>();
  const expected: number[] = [];
  const members: number[][] = [];
  const meetings: number[][] = [];
  const queueOf = (key: string): number => {
    let queue = ids.get(key);
    if (queue === undefined) {
      queue = ids.size;
      ids.set(key, queue);
      meetings.push([]);
    }
    return queue;
  };
  const meetingOf = programs.map((program) => {
    const groupQueues = program.groups.map(() => new Map<number, number>());
    const groupKeys = program.groups.map((ranks) => ranks.join());
    const transferQueues = new Map<string, number>();
    const counts = new Map<number, number>();
    const result = new Int32Array(program.instructions.length).fill(-1);
    for (const [index, instruction] of program.instructions.entries()) {
      let queue: number;
      let size: number;
      if (isGroupInstruction(instruction)) {
        const stream = streamIndex(instruction.stream);
        const known = groupQueues[instruction.group]!.get(stream);
        queue = known ?? queueOf(`${groupKeys[instruction.group]} ${stream}`);
        if (known === undefined) groupQueues[instruction.group]!.set(stream, queue);
        size = program.groups[instruction.group]!.length;
      } else if (isTransfer(instruction)) {
        const key = transferKey(program.rank, instruction);
        queue = transferQueues.get(key) ?? queueOf(key);
        transferQueues.set(key, queue);
        size = 2;
      } else {
        continue;
      }
      // Sends and receives of one pair meet in one queue, but each side counts its own.
      const side = instruction.op === "receive" ? 1 : 0;
      const nth = counts.get(queue * 2 + side) ?? 0;
      counts.set(queue * 2 + side, nth + 1);
      const queueMeetings = meetings[queue]!;
      if (nth === queueMeetings.length) {
        queueMeetings.push(expected.push(size) - 1);
        members.push([]);
      }
      const meeting = queueMeetings[nth]!;
      members[meeting]!.push(program.rank, index);
      result[index] = meeting;
    }
    return result;
  });
  return { meetingOf, expected, members };
}

type GroupInstruction = Extract<Instruction, { readonly group: number }>;

export function isGroupInstruction(instruction: Instruction): instruction is GroupInstruction {
  return "group" in instruction;
}

export function isTransfer(instruction: Instruction): instruction is TransferInstruction {
  return instruction.op === "send" || instruction.op === "receive";
}

function transferKey(rank: number, instruction: TransferInstruction): string {
  const direction = instruction.stream.startsWith("activations") ? "activations" : "gradients";
  const { op, peer } = instruction;
  return op === "send" ? `${rank}>${peer} ${direction}` : `${peer}>${rank} ${direction}`;
}
