import { product } from "./flat-layout.js";
import type { ExchangeInstruction, Instruction, Program } from "./program.js";
import type { Rendezvous } from "./rendezvous.js";

/** Everyone comes to every meeting, and all bring the same: operation, sizes, element types, pieces for each other. */
export function meetingProblems(programs: readonly Program[], rendezvous: Rendezvous): readonly string[] {
  const problems: string[] = [];
  for (const [meeting, members] of rendezvous.members.entries()) {
    const expected = rendezvous.expected[meeting]!;
    const rank = members[0]!;
    const index = members[1]!;
    const first = programs[rank]!.instructions[index]!;
    const where = `${first.op} of rank ${rank} (instruction ${index})`;
    if (members.length / 2 !== expected) {
      problems.push(`${where} meets ${members.length / 2} of ${expected} ranks`);
      continue;
    }
    if (first.op === "exchange") {
      problems.push(...exchangeProblems(programs, members));
      continue;
    }
    const signature = signatureOf(programs[rank]!, first);
    for (let at = 2; at < members.length; at += 2) {
      const other = programs[members[at]!]!;
      const otherSignature = signatureOf(other, other.instructions[members[at + 1]!]!);
      if (otherSignature !== signature) {
        problems.push(
          `${where} is ${signature}, but rank ${members[at]} brings ${otherSignature} (instruction ${members[at + 1]})`,
        );
      }
    }
  }
  return problems;
}

/** What must agree between members. */
function signatureOf(program: Program, instruction: Instruction): string {
  const size = (tensor: number): string => {
    const { dtype, shape } = program.tensors[tensor]!;
    return `${product(shape)} ${dtype}`;
  };
  switch (instruction.op) {
    case "send":
    case "receive":
      return `a transfer of ${size(instruction.tensor)}`;
    case "allReduce":
    case "allGather":
    case "reduceScatter":
    case "allToAll":
    case "broadcast":
      return `${instruction.op} (${instruction.accumulates ? "adding " : ""}${instruction.reduction}) of ${size(instruction.input)}`;
    default:
      return instruction.op;
  }
}

function exchangeProblems(programs: readonly Program[], members: readonly number[]): readonly string[] {
  const problems: string[] = [];
  const exchanges = new Map<number, ExchangeInstruction>();
  for (let at = 0; at < members.length; at += 2) {
    const instruction = programs[members[at]!]!.instructions[members[at + 1]!]!;
    if (instruction.op !== "exchange") {
      problems.push(
        `exchange meets ${instruction.op} of rank ${members[at]} (instruction ${members[at + 1]})`,
      );
      return problems;
    }
    exchanges.set(members[at]!, instruction);
  }
  const sizes = (rank: number, pieces: ExchangeInstruction["sends"], peer: number): string =>
    pieces
      .filter((piece) => piece.peer === peer)
      .map(({ tensor }) => {
        const { shape, dtype } = programs[rank]!.tensors[tensor]!;
        return `${product(shape)} ${dtype}`;
      })
      .join(", ");
  for (const [from, sender] of exchanges) {
    for (const [to, receiver] of exchanges) {
      const sent = sizes(from, sender.sends, to);
      const received = sizes(to, receiver.receives, from);
      if (sent !== received) {
        problems.push(`exchange: rank ${from} sends [${sent}] to rank ${to}, which expects [${received}]`);
      }
    }
  }
  return problems;
}
