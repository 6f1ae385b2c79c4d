"""Swin layers in plain PyTorch, after Hugging Face's semantics, with our names; borders are [S, b, C]."""

import math

import torch
import torch.nn.functional as F

from family_reference import layer_norm, linear


def to_windows(x, w):
    """[b, s, s, C] to [b · windows, w², C]."""
    b, s, _, c = x.shape
    return x.view(b, s // w, w, s // w, w, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, w * w, c)


def from_windows(x, w, s):
    c = x.shape[-1]
    x = x.view(-1, s // w, s // w, w, w, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, s, s, c)


def relative_index(w):
    place = torch.stack(torch.meshgrid(torch.arange(w), torch.arange(w), indexing="ij")).flatten(1)
    relative = (place[:, :, None] - place[:, None, :]).permute(1, 2, 0) + w - 1
    return relative[..., 0] * (2 * w - 1) + relative[..., 1]


def shift_mask(s, w, shift):
    image = torch.zeros(1, s, s, 1)
    bands = (slice(0, -w), slice(-w, -shift), slice(-shift, None))
    for i, rows in enumerate(bands):
        for j, columns in enumerate(bands):
            image[:, rows, columns, :] = 3 * i + j
    windows = to_windows(image, w).squeeze(-1)
    difference = windows[:, None, :] - windows[:, :, None]
    return torch.where(difference != 0, -100.0, 0.0)


def block(p, name, x, s, w, shift, heads, epsilon):
    """x [b, s², C]"""
    b, length, c = x.shape
    normed = layer_norm(p, f"{name}.attention.norm", x, epsilon).view(b, s, s, c)
    if shift:
        normed = torch.roll(normed, (-shift, -shift), (1, 2))
    tiles = to_windows(normed, w)

    def split(part):
        return linear(p, f"{name}.attention.{part}", tiles).view(-1, w * w, heads, c // heads).transpose(1, 2)

    q, k, v = split("query"), split("key"), split("value")
    scores = q @ k.transpose(-1, -2) / math.sqrt(c // heads)
    bias = p[f"{name}.attention.bias.weight"][relative_index(w).view(-1)].view(w * w, w * w, heads)
    scores = scores + bias.permute(2, 0, 1).unsqueeze(0)
    if shift:
        mask = shift_mask(s, w, shift)
        scores = scores.view(b, mask.shape[0], heads, w * w, w * w) + mask[None, :, None]
        scores = scores.view(-1, heads, w * w, w * w)
    context = (scores.softmax(-1) @ v).transpose(1, 2).reshape(-1, w * w, c)
    grid = from_windows(linear(p, f"{name}.attention.output", context), w, s)
    if shift:
        grid = torch.roll(grid, (shift, shift), (1, 2))
    x = x + grid.reshape(b, length, c)
    normed = layer_norm(p, f"{name}.feedForward.norm", x, epsilon)
    return x + linear(p, f"{name}.feedForward.down", F.gelu(linear(p, f"{name}.feedForward.up", normed)))


def pair(p, x, s, w, heads, epsilon):
    x = x.transpose(0, 1)
    x = block(p, "first", x, s, w, 0, heads, epsilon)
    x = block(p, "second", x, s, w, w // 2 if s > w else 0, heads, epsilon)
    return x.transpose(0, 1)


def merge(p, x, s, epsilon):
    x = x.transpose(0, 1)
    b, _, c = x.shape
    grid = x.reshape(b, s, s, c)
    parts = [grid[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
    merged = torch.cat(parts, -1).view(b, -1, 4 * c)
    return linear(p, "reduction", layer_norm(p, "norm", merged, epsilon)).transpose(0, 1)


def embedding(p, pixels, epsilon):
    return layer_norm(p, "norm", linear(p, "patch", pixels), epsilon)


def head(p, x, epsilon):
    return linear(p, "output", layer_norm(p, "norm", x, epsilon).mean(0))


def block_shapes(name, hidden, heads, window):
    shapes = {f"{name}.attention.bias.weight": ((2 * window - 1) ** 2, heads)}
    for part in ("query", "key", "value", "output"):
        shapes[f"{name}.attention.{part}.weight"] = (hidden, hidden)
        shapes[f"{name}.attention.{part}.bias"] = (hidden,)
    shapes[f"{name}.feedForward.up.weight"] = (4 * hidden, hidden)
    shapes[f"{name}.feedForward.up.bias"] = (4 * hidden,)
    shapes[f"{name}.feedForward.down.weight"] = (hidden, 4 * hidden)
    shapes[f"{name}.feedForward.down.bias"] = (hidden,)
    for norm in ("attention.norm", "feedForward.norm"):
        shapes[f"{name}.{norm}.weight"] = (hidden,)
        shapes[f"{name}.{norm}.bias"] = (hidden,)
    return shapes
