"""A GPT-2 in plain PyTorch with our names and our layout, sequence first: [S, b, H]."""

import math

import torch
import torch.nn.functional as F

EPSILON = 1e-5


def layer_norm(p, name, x):
    return F.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"], EPSILON)


def linear(p, name, x):
    return F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])


def embedding(p, tokens):
    sequence = tokens.shape[0]
    return p["token.weight"][tokens] + p["position.weight"][:sequence].unsqueeze(1)


def decoder(p, x, heads):
    s, b, h = x.shape
    n = layer_norm(p, "attention.norm", x)

    def split(name):
        return linear(p, f"attention.{name}", n).reshape(s, b, heads, h // heads).permute(1, 2, 0, 3)

    q, k, v = split("query"), split("key"), split("value")
    scores = q @ k.transpose(-1, -2) / math.sqrt(h // heads)
    scores = scores.masked_fill(torch.ones(s, s, dtype=torch.bool).triu(1), float("-inf"))
    context = (scores.softmax(-1) @ v).permute(2, 0, 1, 3).reshape(s, b, h)
    x = x + linear(p, "attention.output", context)
    n = layer_norm(p, "feedForward.norm", x)
    return x + linear(p, "feedForward.down", F.gelu(linear(p, "feedForward.up", n), approximate="tanh"))


def head_loss(p, x, labels, loss_tokens):
    """Sum of the cross entropies over the labels that count, over `loss_tokens`."""
    logits = F.linear(layer_norm(p, "norm", x), p["output.weight"])
    flat = logits.reshape(-1, logits.shape[-1])
    return F.cross_entropy(flat, labels.reshape(-1), ignore_index=-100, reduction="sum") / loss_tokens


def decoder_shapes(hidden, inner):
    shapes = {}
    for name in ("query", "key", "value", "output"):
        shapes[f"attention.{name}.weight"] = (hidden, hidden)
        shapes[f"attention.{name}.bias"] = (hidden,)
    shapes |= {
        "feedForward.up.weight": (inner, hidden),
        "feedForward.up.bias": (inner,),
        "feedForward.down.weight": (hidden, inner),
        "feedForward.down.bias": (hidden,),
    }
    for norm in ("attention.norm", "feedForward.norm"):
        shapes[f"{norm}.weight"] = (hidden,)
        shapes[f"{norm}.bias"] = (hidden,)
    return shapes
