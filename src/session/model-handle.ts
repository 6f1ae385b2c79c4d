import { relative } from "node:path";
import type { Table } from "apache-arrow";
import { GalvatronError } from "../base/errors.js";
import { type MemorySize, memoryBytes } from "../base/memory-size.js";
import type { MimeBundle } from "../display/mime.js";
import { modelProfileFigure } from "../display/model-figure.js";
import { analyticProfile } from "../model/analytic-profile.js";
import type { ModelProfile } from "../model/model-profile.js";
import type { ModelSpec } from "../model/model-spec.js";
import { parameterCount } from "../model/parameter-count.js";
import type { GradientOrder, Plan, Precision } from "../plan/plan.js";
import { modelTable } from "../profiler/model-table.js";
import type { Machine } from "../runtime/machine.js";
import { type BatchRange, DEFAULT_GLOBAL_BATCH } from "../search/outer-choice.js";
import type { SpaceOptions } from "../search/space.js";
import { ClusterHandle } from "./cluster-handle.js";
import { planByHand, searchPlan } from "./find-plan.js";
import { ownMachine } from "./own-machine.js";
import { PlanHandle } from "./plan-handle.js";
import { modelProfile } from "./profiles.js";
import type { ProfiledMachine, Session } from "./session.js";
import { figuresBundle, Shown } from "./show.js";

/** What to search for besides the memory budget. */
export interface SearchOptions {
  /** Machine to plan for; the one profiled last when left out. */
  readonly on?: ClusterHandle;
  /** Samples per step over all ranks (8 when left out), or a range to choose from. */
  readonly globalBatch?: number | BatchRange;
  /** Of products and activations; bfloat16 on GPUs, float32 on the host when left out. */
  readonly precision?: Precision;
  /**
   * Of the plan's sums: `canonical` on the host, where plans that differ only in data parallel, ZeRO, stages or recompute
   * then train to the same bits; `deferred` on GPUs, which have no other, when left out.
   */
  readonly gradientOrder?: GradientOrder;
  /** Restricts the plans considered. */
  readonly space?: SpaceOptions;
}

/** What is to be trained. `profile()` measures its layers, `search()` finds the fastest plan within a budget. */
export class ModelHandle extends Shown {
  /** The model as plain data. */
  readonly spec: ModelSpec;
  private readonly session: Session;
  private readonly measured = new Map<string, ModelProfile>();
  /** Of a machine elsewhere: brought along, never measured here. */
  private readonly imported: ModelProfile | null;
  private shown: ModelProfile | null;
  private path = "";

  /** @internal */
  constructor(session: Session, spec: ModelSpec, imported: ModelProfile | null = null) {
    super();
    this.session = session;
    this.spec = spec;
    this.imported = imported;
    this.shown = imported;
  }

  /**
   * Measures forward and backward time and memory of each kind of layer, or takes what was measured before for this
   * model, machine and versions; on a preset machine works them out from shapes. Resolves to this handle.
   */
  async profile(
    options: { readonly on?: ClusterHandle; readonly again?: boolean; readonly precision?: Precision } = {},
  ): Promise<ModelHandle> {
    const machine = options.on?.machine ?? this.session.lastProfiled?.machine ?? ownMachine();
    const precision = options.precision ?? defaultPrecision(machine);
    if (options.on?.elsewhere) {
      this.shown = this.imported ?? analyticProfile(this.spec, options.on.elsewhere, { precision });
      this.measured.set(measuredKey(machine, precision), this.shown);
      return this;
    }
    const stored = await modelProfile(this.session, machine, this.spec, options.again ?? false, precision);
    if (!stored.fresh)
      this.session.reporter.notice(
        `Using the profile of ${this.spec.name} in ${relative(this.session.projectFolder, stored.path)}.`,
      );
    this.measured.set(measuredKey(machine, precision), stored.profile);
    this.shown = stored.profile;
    this.path = stored.path;
    return this;
  }

  /**
   * The profile as an Arrow table, one row per kind, split and micro-batch size.
   * @throws GalvatronError PROFILE_INCOMPLETE before {@link profile}
   */
  table(): Table {
    if (!this.shown)
      throw new GalvatronError(
        "PROFILE_INCOMPLETE",
        `${this.spec.name} is not profiled yet. Call: await model(…).profile()`,
      );
    return modelTable(this.shown);
  }

  /** File of the profile. */
  get profilePath(): string {
    return this.path;
  }

  /**
   * The fastest plan that fits the budget. What is not profiled yet is profiled first.
   *
   * @param memory - bytes of one rank in all: "2GB" is 2 × 2^30
   * @throws GalvatronError NO_FEASIBLE_PLAN, saying the smallest budget that would do
   */
  async search(memory: MemorySize, options: SearchOptions = {}): Promise<PlanHandle> {
    const budgetBytes = memoryBytes(memory);
    const { machine, profile } = await this.prepared(options.on, options.precision);
    if (options.globalBatch === undefined)
      this.session.reporter.notice(
        `No global batch given: planning for ${DEFAULT_GLOBAL_BATCH} samples a step ({ globalBatch: … } changes it).`,
      );
    const ordered = { ...options, gradientOrder: options.gradientOrder ?? defaultOrder(machine.machine) };
    return new PlanHandle(
      this.session,
      searchPlan({ model: this.spec, modelProfile: profile, machine, budgetBytes, options: ordered }),
    );
  }

  /**
   * A plan made by hand (see `uniformPlan`), priced and ready to train. Where it says no order of gradients, it gets its
   * machine's: `canonical` on the host.
   * @throws GalvatronError PLAN_INVALID with every rule it breaks, or when `on` has another number of ranks
   */
  async plan(plan: Plan, options: { readonly on?: ClusterHandle } = {}): Promise<PlanHandle> {
    const { machine, profile } = await this.prepared(options.on ?? this.fitting(plan.ranks), plan.precision);
    const ordered = { ...plan, gradientOrder: plan.gradientOrder ?? defaultOrder(machine.machine) };
    return new PlanHandle(
      this.session,
      planByHand({ model: this.spec, modelProfile: profile, machine, plan: ordered }),
    );
  }

  /** A machine of as many ranks, when the one profiled last has another number. */
  private fitting(ranks: number): ClusterHandle | undefined {
    const last = this.session.lastProfiled?.machine;
    if (last && last.cluster.nodes * last.cluster.ranksPerNode === ranks) return undefined;
    return new ClusterHandle(this.session, ownMachine(last?.cluster.device, ranks));
  }

  private async prepared(
    on: ClusterHandle | undefined,
    asked: Precision | undefined,
  ): Promise<{ readonly machine: ProfiledMachine; readonly profile: ModelProfile }> {
    if (on ? !on.hardware : !this.session.lastProfiled)
      await (on ?? new ClusterHandle(this.session, ownMachine())).profile();
    const machine = on ? on.profiled() : this.session.lastProfiled!;
    const precision = asked ?? defaultPrecision(machine.machine);
    const key = measuredKey(machine.machine, precision);
    const known = this.measured.get(key);
    if (known) return { machine, profile: known };
    const { elsewhere } = machine;
    await this.profile({
      on: new ClusterHandle(this.session, machine.machine, elsewhere ? machine.hardware : null),
      precision,
    });
    return { machine, profile: this.measured.get(key)! };
  }

  override toString(): string {
    const { name, layers, sequence, vocabulary } = this.spec;
    const parameters = parameterCount(this.spec);
    return `${name}: ${layers.length} layers, sequence ${sequence}, vocabulary ${vocabulary}, ${countText(parameters)} parameters (${this.shown ? "profiled" : "not profiled yet"})`;
  }

  override bundle(): MimeBundle {
    return figuresBundle(this.toString(), this.shown ? [modelProfileFigure(this.shown)] : []);
  }
}

/** 1557611200 → "1.56 billion". */
function countText(count: number): string {
  const units = ["", "thousand", "million", "billion", "trillion"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, count)) / 3));
  return `${(count / 1000 ** power).toPrecision(3)} ${units[power]}`.trim();
}

/** @internal */
export function defaultPrecision(machine: Machine): Precision {
  return machine.cluster.device === "cuda" ? "bfloat16" : "float32";
}

/** The host trains to the same bits whatever the plan; GPUs add up as is cheapest. */
function defaultOrder(machine: Machine): GradientOrder {
  return machine.cluster.device === "cuda" ? "deferred" : "canonical";
}

function measuredKey(machine: Machine, precision: Precision): string {
  return JSON.stringify([machine, precision]);
}
