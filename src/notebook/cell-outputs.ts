import type { KernelMessage } from "@jupyterlab/services";
import type { CellOutput, MimeData } from "./notebook-json.js";

type Slot = { output: CellOutput };

/**
 * Gathers what a run's cells show, as a front end does: streams grow, displays change in place (also those of cells
 * that ended long ago), and clear_output clears.
 */
export class CellOutputs {
  readonly #cells = new Map<string, { slots: Slot[]; clearOnNext: boolean }>();
  readonly #displays = new Map<string, Slot[]>();

  /** Begins a cell anew. */
  begin(cellId: string): void {
    this.#cells.set(cellId, { slots: [], clearOnNext: false });
  }

  of(cellId: string): readonly CellOutput[] {
    return this.#cells.get(cellId)?.slots.map(({ output }) => output) ?? [];
  }

  /** Takes one message of the kernel's iopub channel that belongs to the cell. */
  accept(cellId: string, message: KernelMessage.IIOPubMessage): void {
    const content = message.content as Record<string, never>;
    const type: string = message.header.msg_type;
    switch (type) {
      case "stream":
        this.#addText(cellId, content.name ?? "stdout", content.text ?? "");
        break;
      case "execute_result":
        this.#add(cellId, {
          kind: "result",
          executionCount: content.execution_count ?? null,
          data: (content.data ?? {}) as MimeData,
          metadata: (content.metadata ?? {}) as MimeData,
        });
        break;
      case "display_data":
        this.#addDisplay(cellId, content);
        break;
      case "update_display_data":
        this.update(content);
        break;
      case "error":
        this.#add(cellId, {
          kind: "error",
          ename: content.ename ?? "",
          evalue: content.evalue ?? "",
          traceback: content.traceback ?? [],
        });
        break;
      case "clear_output":
        this.#clear(cellId, content.wait ?? false);
        break;
    }
  }

  /** Changes a display in place, whichever cell made it. */
  update(content: Readonly<Record<string, unknown>>): void {
    const { transient, data, metadata } = content as { transient?: { display_id?: string } } & Record<
      string,
      MimeData
    >;
    for (const slot of this.#displays.get(transient?.display_id ?? "") ?? []) {
      slot.output = { kind: "display", data: data ?? {}, metadata: metadata ?? {} };
    }
  }

  #addDisplay(cellId: string, content: Record<string, unknown>): void {
    const { transient, data, metadata } = content as { transient?: { display_id?: string } } & Record<
      string,
      MimeData
    >;
    const slot = this.#add(cellId, { kind: "display", data: data ?? {}, metadata: metadata ?? {} });
    const id = transient?.display_id;
    if (id !== undefined) this.#displays.set(id, [...(this.#displays.get(id) ?? []), slot]);
  }

  #addText(cellId: string, name: string, text: string): void {
    const cell = this.#cell(cellId);
    const last = cell.clearOnNext ? undefined : cell.slots.at(-1);
    if (last?.output.kind === "stream" && last.output.name === name) {
      last.output = { ...last.output, text: last.output.text + text };
    } else {
      this.#add(cellId, { kind: "stream", name, text });
    }
  }

  #add(cellId: string, output: CellOutput): Slot {
    const cell = this.#cell(cellId);
    if (cell.clearOnNext) {
      cell.slots = [];
      cell.clearOnNext = false;
    }
    const slot: Slot = { output };
    cell.slots.push(slot);
    return slot;
  }

  #clear(cellId: string, wait: boolean): void {
    const cell = this.#cell(cellId);
    if (wait) cell.clearOnNext = true;
    else cell.slots = [];
  }

  #cell(cellId: string): { slots: Slot[]; clearOnNext: boolean } {
    const known = this.#cells.get(cellId);
    if (known) return known;
    const fresh = { slots: [], clearOnNext: false };
    this.#cells.set(cellId, fresh);
    return fresh;
  }
}
