"""T5 layers in plain PyTorch, after Hugging Face's semantics, with our names and our carried tables: [S, b, H]."""

import math

import torch
import torch.nn.functional as F

from family_reference import attend, causal_mask, heads_of, linear, rms_norm


def buckets_of(relative, both, count, farthest):
    """Bucket of key minus query."""
    result = torch.zeros_like(relative)
    if both:
        count //= 2
        result += (relative > 0).long() * count
        relative = relative.abs()
    else:
        relative = -torch.minimum(relative, torch.zeros_like(relative))
    exact = count // 2
    far = exact + (
        torch.log(relative.float() / exact) / math.log(farthest / exact) * (count - exact)
    ).to(torch.long)
    far = torch.minimum(far, torch.full_like(far, count - 1))
    return result + torch.where(relative < exact, relative, far)


def position_bias(table, s, both, farthest):
    relative = torch.arange(s)[None, :] - torch.arange(s)[:, None]
    buckets = buckets_of(relative, both, table.shape[0], farthest)
    return table[buckets].permute(2, 0, 1).unsqueeze(0)


def carried_table(carried, buckets, heads):
    return carried[:, 0].reshape(-1)[: buckets * heads].reshape(buckets, heads)


def carry(table, s, samples):
    width = math.ceil(table.numel() / s)
    flat = F.pad(table.reshape(-1), (0, s * width - table.numel()))
    return flat.reshape(s, 1, width).expand(s, samples, width)


def attention_layer(p, name, x, memory, bias, width, epsilon):
    normed = rms_norm(p, f"{name}.norm", x, epsilon)
    source = normed if memory is None else memory
    q = heads_of(linear(p, f"{name}.query", normed), width)
    k, v = (heads_of(linear(p, f"{name}.{part}", source), width) for part in ("key", "value"))
    return x + linear(p, f"{name}.output", attend(q, k, v, 1.0, bias))


def feed_forward_layer(p, x, epsilon):
    up = linear(p, "feedForward.up", rms_norm(p, "feedForward.norm", x, epsilon))
    return x + linear(p, "feedForward.down", F.relu(up))


def encoder(p, x, table, m, is_last):
    bias = position_bias(table, x.shape[0], True, m["farthest"])
    x = attention_layer(p, "attention", x, None, bias, m["headWidth"], m["epsilon"])
    x = feed_forward_layer(p, x, m["epsilon"])
    return rms_norm(p, "norm", x, m["epsilon"]) if is_last else x


def decoder(p, x, memory, table, m):
    s = x.shape[0]
    bias = position_bias(table, s, False, m["farthest"]) + causal_mask(s)
    x = attention_layer(p, "attention", x, None, bias, m["headWidth"], m["epsilon"])
    x = attention_layer(p, "crossAttention", x, memory, None, m["headWidth"], m["epsilon"])
    return feed_forward_layer(p, x, m["epsilon"])
