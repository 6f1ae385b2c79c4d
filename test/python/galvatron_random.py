"""The product's counter-based random numbers (src/base/random.ts) again, in NumPy."""

import numpy as np

MASK = np.uint64(0xFFFFFFFF)


def _fnv1a(text: str, start: int) -> int:
    value = start
    units = text.encode("utf-16-le")
    for byte in units:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def stream_key(seed: int, name: str) -> tuple[int, int]:
    text = f"{seed}/{name}"
    return _fnv1a(text, 0x811C9DC5), _fnv1a(text, 0x9747B28C)


def words(seed: int, name: str, start: int, count: int) -> np.ndarray:
    """Elements [start, start + count) of a stream of 32-bit words."""
    first, last = start // 4, (start + count + 3) // 4
    block = np.arange(first, last, dtype=np.uint64)
    key0, key1 = (np.uint64(k) for k in stream_key(seed, name))
    c0, c1 = block & MASK, block >> np.uint64(32)
    c2, c3 = np.zeros_like(block), np.zeros_like(block)
    for _ in range(10):
        p0 = np.uint64(0xD2511F53) * c0
        p1 = np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (
            ((p1 >> np.uint64(32)) ^ c1 ^ key0) & MASK,
            p1 & MASK,
            ((p0 >> np.uint64(32)) ^ c3 ^ key1) & MASK,
            p0 & MASK,
        )
        key0 = (key0 + np.uint64(0x9E3779B9)) & MASK
        key1 = (key1 + np.uint64(0xBB67AE85)) & MASK
    lanes = np.stack([c0, c1, c2, c3], axis=1).reshape(-1)
    return lanes[start - 4 * first : start - 4 * first + count]


def uniform(seed: int, name: str, start: int, count: int) -> np.ndarray:
    return (words(seed, name, start, count).astype(np.float64) + 0.5) / 4294967296


def normal(seed: int, name: str, shape, standard_deviation: float = 1.0) -> np.ndarray:
    """The whole tensor `name`, float32."""
    count = int(np.prod(shape))
    u = uniform(seed, name, 0, 4 * ((count + 3) // 4)).reshape(-1, 2)
    radius, angle = np.sqrt(-2 * np.log(u[:, 0])), 2 * np.pi * u[:, 1]
    values = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[:count]
    return (values * standard_deviation).astype(np.float32).reshape(shape)
