import { relative } from "node:path";
import type { Table } from "apache-arrow";
import { GalvatronError } from "../base/errors.js";
import { memoryText } from "../base/memory-size.js";
import type { Cluster } from "../cluster/cluster.js";
import type { HardwareProfile } from "../cluster/hardware-profile.js";
import { hardwareFigure } from "../display/hardware-figure.js";
import type { MimeBundle } from "../display/mime.js";
import { hardwareTable } from "../profiler/hardware-table.js";
import type { Machine } from "../runtime/machine.js";
import { hardwareProfile } from "./profiles.js";
import type { ProfiledMachine, Session } from "./session.js";
import { figuresBundle, Shown } from "./show.js";

/** The machine that trains, or is planned for. `profile()` measures it; searches then use what was measured. */
export class ClusterHandle extends Shown {
  /** The machine with its cores and threads per rank, as plain data. */
  readonly machine: Machine;
  private readonly session: Session;
  private measured: HardwareProfile | null;
  private path = "";
  /** @internal The profile of a machine that is not this one. */
  readonly elsewhere: HardwareProfile | null;

  /** @internal */
  constructor(session: Session, machine: Machine, hardware: HardwareProfile | null = null) {
    super();
    this.session = session;
    this.machine = machine;
    this.measured = hardware;
    this.elsewhere = hardware;
  }

  /** The machine as plain data. */
  get data(): Cluster {
    return this.machine.cluster;
  }

  /** What was measured; null before {@link profile}. */
  get hardware(): HardwareProfile | null {
    return this.measured;
  }

  /**
   * Measures matrix products, collectives, overlap and the optimizer, or takes what was measured before on this
   * machine with these versions. A machine that is planned for has its profile already. Resolves to this handle.
   *
   * @param options - `again` measures in any case
   */
  async profile(options: { readonly again?: boolean } = {}): Promise<ClusterHandle> {
    if (this.elsewhere) return this;
    const stored = await hardwareProfile(this.session, this.machine, options.again ?? false);
    if (!stored.fresh)
      this.session.reporter.notice(
        `Using the profile of this machine in ${relative(this.session.projectFolder, stored.path)}.`,
      );
    this.measured = stored.profile;
    this.path = stored.path;
    this.session.lastProfiled = { machine: this.machine, hardware: stored.profile, elsewhere: false };
    return this;
  }

  /**
   * The profile as an Arrow table, one row per measurement.
   * @throws GalvatronError PROFILE_INCOMPLETE before {@link profile}
   */
  table(): Table {
    return hardwareTable(this.profiled().hardware);
  }

  /** File of the profile. */
  get profilePath(): string {
    return this.path;
  }

  /** @internal */
  profiled(): ProfiledMachine {
    if (!this.measured)
      throw new GalvatronError(
        "PROFILE_INCOMPLETE",
        "This cluster is not profiled yet. Call: await cluster().profile()",
      );
    return { machine: this.machine, hardware: this.measured, elsewhere: this.elsewhere !== null };
  }

  override toString(): string {
    const { deviceName, ranksPerNode, memoryBytesPerRank } = this.data;
    const { cores, threadsPerRank } = this.machine;
    if (this.elsewhere) {
      const origin =
        this.elsewhere.source === "estimated" ? "estimated from published figures" : "measured elsewhere";
      return `${this.data.name}: ${this.data.nodes * ranksPerNode} ranks of ${deviceName}, ${memoryText(memoryBytesPerRank)} each (${origin})`;
    }
    const profiled = this.measured ? "profiled" : "not profiled yet";
    return `${deviceName}, ${cores} cores: ${ranksPerNode} ranks of ${threadsPerRank} thread(s), ${memoryText(memoryBytesPerRank)} each (${profiled})`;
  }

  override bundle(): MimeBundle {
    return figuresBundle(this.toString(), this.measured ? [hardwareFigure(this.measured)] : []);
  }
}
