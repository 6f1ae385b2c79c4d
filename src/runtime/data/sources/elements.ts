import { GalvatronError } from "../../../base/errors.js";
import type { ElementType } from "../dataset.js";

export const ELEMENT_BYTES: Readonly<Record<ElementType, number>> = {
  bool: 1,
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  uint32: 4,
  int32: 4,
  float32: 4,
  uint64: 8,
  int64: 8,
  float64: 8,
};

/**
 * Little-endian elements as numbers.
 *
 * @param bytes - as many as `count` elements need
 * @throws GalvatronError DATA_INVALID for a whole number beyond 2^53
 */
export function numbersOf(bytes: Uint8Array, type: ElementType, path: string): ArrayLike<number> {
  const count = bytes.length / ELEMENT_BYTES[type];
  // Views need an offset that divides; copies start at 0.
  const { buffer } = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
  const offset = bytes.byteOffset % 8 === 0 ? bytes.byteOffset : 0;
  switch (type) {
    case "bool":
    case "uint8":
      return bytes;
    case "int8":
      return new Int8Array(buffer, offset, count);
    case "uint16":
      return new Uint16Array(buffer, offset, count);
    case "int16":
      return new Int16Array(buffer, offset, count);
    case "uint32":
      return new Uint32Array(buffer, offset, count);
    case "int32":
      return new Int32Array(buffer, offset, count);
    case "float32":
      return new Float32Array(buffer, offset, count);
    case "float64":
      return new Float64Array(buffer, offset, count);
    case "int64":
    case "uint64": {
      const wide =
        type === "int64"
          ? new BigInt64Array(buffer, offset, count)
          : new BigUint64Array(buffer, offset, count);
      return Array.from(wide, (value) => {
        const number = Number(value);
        if (Number.isSafeInteger(number)) return number;
        throw new GalvatronError("DATA_INVALID", `${path} holds ${value}, which is no token or label.`, {
          path,
        });
      });
    }
  }
}
