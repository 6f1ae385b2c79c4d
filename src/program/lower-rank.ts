import type { ModelSpec } from "../model/model-spec.js";
import type { Plan } from "../plan/plan.js";
import { stageOfRank } from "../plan/stages.js";
import { crossInStage, type Direction, receiveAcross, sendAcross } from "./borders.js";
import { closeProgram } from "./close-program.js";
import { type Environment, emitBackward, emitForward, emitRecompute } from "./layer-passes.js";
import { ParameterViews } from "./parameter-views.js";
import type { Program } from "./program.js";
import { openRank, type RankState, type Shared, type SiteState } from "./rank-state.js";
import { type StageOperation, stageOperations } from "./schedule.js";
import type { Site } from "./sites.js";
import { emitUpdate } from "./update.js";

/** A border's tensors; `undefined` where nothing flows (a border value without gradient). */
type Border = readonly (number | undefined)[];

/** What a neighbouring stage sends: whole once `unpack` has put its pieces together. */
interface Incoming {
  readonly tensors: Border;
  readonly unpack: () => void;
}

/** One pass of one micro-batch through one site. */
interface Visit {
  readonly site: SiteState;
  readonly pass: "forward" | "backward";
}

/** Writes one rank's program. */
export function lowerRank(
  model: ModelSpec,
  plan: Plan,
  sites: readonly (readonly Site[])[],
  rank: number,
  shared: Shared,
): Program {
  const stage = stageOfRank(plan, rank);
  const state = openRank(model, plan, sites[stage]!, rank, shared);
  new StageWriter(state, sites).emitOperations();
  emitUpdate(state);
  return closeProgram(state);
}

/**
 * Emits a stage's operations in an order in which all ranks could run their lists one instruction at a time, sends
 * blocking until they are received. Whatever a later pass lets wait for earlier instructions can then not deadlock.
 */
class StageWriter {
  readonly #state: RankState;
  readonly #views: ParameterViews;
  readonly #sites: readonly (readonly Site[])[];
  readonly #operations: readonly StageOperation[];
  /** Places of the next stage's operations in its list; empty on the last stage. */
  readonly #next: ReadonlyMap<string, number>;
  readonly #visits: readonly Visit[];
  #visit = 0;
  /** By micro-batch: what each site's forward left for its backward. */
  readonly #kept = new Map<number, Environment[]>();
  /** Sends of the operation before, held back until the receives that must come first. */
  #pendingSends: (() => void)[] = [];
  /** What keeps its address until the end of the visit that follows, the first that is not short. */
  #lingerVisit: readonly number[] = [];
  /** What was sent, and keeps its address until the second operation behind it has ended: a slow link stops nobody. */
  #sent: readonly number[] = [];
  #sentBefore: readonly number[] = [];
  /**
   * Where the last two operations began. What is received is at most so early: the neighbour sends an activation (a
   * gradient) only after it has what this stage sent two operations before it needs the answer.
   */
  #starts: readonly [number, number] = [0, 0];

  constructor(state: RankState, sites: readonly (readonly Site[])[]) {
    this.#state = state;
    this.#views = new ParameterViews(state);
    this.#sites = sites;
    const { plan, stage } = state;
    this.#operations = stageOperations(plan, stage);
    const next = stage + 1 < plan.stageLayers.length ? stageOperations(plan, stage + 1) : [];
    this.#next = new Map(next.map(({ pass, microBatch }, index) => [`${pass} ${microBatch}`, index]));
    this.#visits = this.#operations.flatMap(({ pass }) => {
      const order = pass === "forward" ? state.sites : [...state.sites].reverse();
      return order.map((site) => ({ site, pass }));
    });
  }

  emitOperations(): void {
    const { builder } = this.#state;
    for (const [index, operation] of this.#operations.entries()) {
      const [, reservedFrom] = this.#starts;
      this.#starts = [builder.position, this.#starts[0]];
      const lingering = [...this.#sentBefore, ...this.#sent];
      this.#sentBefore = this.#sent;
      this.#sent = [];
      if (!this.#receiveFirst(index)) this.#flushSends();
      const incoming = this.#receive(operation, reservedFrom);
      this.#flushSends();
      const outgoing =
        operation.pass === "forward"
          ? this.#forward(operation.microBatch, incoming)
          : this.#backward(operation.microBatch, incoming);
      this.#send(operation, outgoing);
      for (const tensor of lingering) builder.keepUntilNow(tensor);
    }
    this.#flushSends();
  }

  /**
   * Between forward m and backward j: the next stage sends gradient j before it receives activation m exactly when it
   * runs backward j before forward m; then the gradient must be received here before the activation is sent.
   */
  #receiveFirst(index: number): boolean {
    const before = this.#operations[index - 1];
    const now = this.#operations[index]!;
    if (before?.pass !== "forward" || now.pass !== "backward") return false;
    const at = ({ pass, microBatch }: StageOperation): number | undefined =>
      this.#next.get(`${pass} ${microBatch}`);
    return this.#next.size > 0 && at(now)! < at(before)!;
  }

  #receive(operation: StageOperation, reservedFrom: number): Incoming {
    const { stage, sites } = this.#state;
    const forward = operation.pass === "forward";
    const neighbour = this.#sites[forward ? stage - 1 : stage + 1];
    if (neighbour === undefined) return { tensors: [], unpack: () => {} };
    const from = forward ? neighbour.at(-1)! : neighbour[0]!;
    const to = forward ? sites[0]!.site : sites.at(-1)!.site;
    return receiveAcross(this.#state, from, to, directionOf(operation), operation.microBatch, reservedFrom);
  }

  #send(operation: StageOperation, outgoing: Border): void {
    const { stage, sites } = this.#state;
    const forward = operation.pass === "forward";
    const neighbour = this.#sites[forward ? stage + 1 : stage - 1];
    if (neighbour === undefined) return;
    const from = forward ? sites.at(-1)!.site : sites[0]!.site;
    const to = forward ? neighbour[0]! : neighbour.at(-1)!;
    const sent = sendAcross(this.#state, from, to, directionOf(operation), outgoing, operation.microBatch);
    this.#pendingSends.push(sent.emit);
    this.#sent = sent.tensors;
  }

  #flushSends(): void {
    for (const emit of this.#pendingSends) emit();
    this.#pendingSends = [];
  }

  #forward(microBatch: number, { tensors, unpack }: Incoming): Border {
    const { sites } = this.#state;
    const kept: Environment[] = [];
    unpack();
    let border = tensors;
    for (const [index, site] of sites.entries()) {
      const before = sites[index - 1];
      this.#enterVisit(site, microBatch);
      if (before !== undefined) {
        border = crossInStage(this.#state, before.site, site.site, "activations", border, microBatch);
      }
      const result = emitForward(this.#state, this.#views, site, microBatch, border);
      border = result.outputs;
      kept.push(result.kept);
      this.#leaveVisit(site);
    }
    this.#kept.set(microBatch, kept);
    return border;
  }

  /** Recompute needs no gradient: at the end of a stage it stands before what waits for the next stage's. */
  #backward(microBatch: number, { tensors, unpack }: Incoming): Border {
    const { sites } = this.#state;
    const kept = this.#kept.get(microBatch)!;
    this.#kept.delete(microBatch);
    let border = tensors;
    for (let index = sites.length - 1; index >= 0; index--) {
      const site = sites[index]!;
      const after = sites[index + 1];
      this.#enterVisit(site, microBatch);
      if (after !== undefined) {
        border = crossInStage(this.#state, after.site, site.site, "gradients", border, microBatch);
      }
      const environment = emitRecompute(this.#state, this.#views, site, microBatch, kept[index]!);
      if (after === undefined) unpack();
      border = emitBackward(this.#state, this.#views, site, microBatch, environment, border);
      this.#leaveVisit(site);
    }
    return border;
  }

  /** Gathers what this visit needs, and ahead of time what the next one needs: behind a short one, the next two. */
  #enterVisit(site: SiteState, microBatch: number): void {
    this.#views.gather(site, this.#visits[this.#visit]!.pass, microBatch);
    for (let ahead = this.#visit + 1; ahead < this.#visits.length; ahead++) {
      const next = this.#visits[ahead]!;
      this.#views.gather(next.site, next.pass, microBatch);
      if (!isShort(next)) break;
    }
  }

  #leaveVisit(site: SiteState): void {
    const { builder, lingering } = this.#state;
    this.#visit++;
    this.#views.release(site, this.#visits[this.#visit]);
    for (const tensor of this.#lingerVisit) builder.keepUntilNow(tensor);
    const lingers = isShort(this.#visits[this.#visit - 1]!) ? this.#lingerVisit : [];
    this.#lingerVisit = [...lingers, ...lingering.splice(0)];
  }
}

/** An embedding's forward hides nothing: neither the gather of what follows nor what is still to be reduced. */
function isShort({ site, pass }: Visit): boolean {
  return site.site.layer < 0 && pass === "forward";
}

function directionOf(operation: StageOperation): Direction {
  return operation.pass === "forward" ? "activations" : "gradients";
}
