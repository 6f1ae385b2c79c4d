import { GalvatronError } from "../base/errors.js";
import type { Cluster } from "../cluster/cluster.js";
import { loadAddon } from "../device/load-addon.js";
import { onnxRuntimePath } from "../device/onnx-runtime-path.js";
import { cudaMachine, hostMachine, type Machine } from "../runtime/machine.js";

/**
 * What trains when nobody says what: the GPUs of this machine, or the host where there are none.
 *
 * @throws GalvatronError DEVICE_UNAVAILABLE when GPUs are asked for and none can be used
 */
export function ownMachine(device?: Cluster["device"], ranks?: number): Machine {
  if (device === "host") return hostMachine(ranks);
  const found = cudaMachine(
    loadAddon().probe({ onnxRuntimePath: onnxRuntimePath(), libraries: false }),
    ranks,
  );
  if (found) return found;
  if (device === "cuda")
    throw new GalvatronError(
      "DEVICE_UNAVAILABLE",
      "No GPU can be used here: `galvatron doctor` says what is missing (docs/gpu.md).",
    );
  return hostMachine(ranks);
}
