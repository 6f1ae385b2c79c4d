"""LLaMA, BERT and ViT layers in plain PyTorch, after Hugging Face's semantics, with our names: [S, b, H]."""

import math

import torch
import torch.nn.functional as F


def linear(p, name, x):
    return F.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))


def layer_norm(p, name, x, epsilon):
    return F.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"], epsilon)


def rms_norm(p, name, x, epsilon):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon) * p[f"{name}.weight"]


def heads_of(x, width):
    """[S, b, h·d] to [b, h, S, d]."""
    s, b, n = x.shape
    return x.reshape(s, b, n // width, width).permute(1, 2, 0, 3)


def attend(q, k, v, scale, mask=None):
    """[b, h, S, d] to [S, b, h·d]; key heads are repeated for their groups."""
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = q @ k.transpose(-1, -2) * scale
    if mask is not None:
        scores = scores + mask
    context = (scores.softmax(-1) @ v).permute(2, 0, 1, 3)
    return context.reshape(*context.shape[:2], -1)


def causal_mask(s):
    return torch.full((s, s), float("-inf")).triu(1)


def rotate(x, theta):
    s, d = x.shape[-2:]
    frequencies = theta ** (-torch.arange(0, d, 2, dtype=torch.float32) / d)
    angles = torch.arange(s, dtype=torch.float32)[:, None] * frequencies
    angles = torch.cat([angles, angles], -1)
    half = torch.cat([-x[..., d // 2 :], x[..., : d // 2]], -1)
    return x * angles.cos() + half * angles.sin()


def llama_decoder(p, x, width, theta, epsilon):
    n = rms_norm(p, "attention.norm", x, epsilon)
    q, k, v = (heads_of(linear(p, f"attention.{name}", n), width) for name in ("query", "key", "value"))
    q, k = rotate(q, theta), rotate(k, theta)
    context = attend(q, k, v, 1 / math.sqrt(width), causal_mask(x.shape[0]))
    x = x + linear(p, "attention.output", context)
    n = rms_norm(p, "feedForward.norm", x, epsilon)
    gated = F.silu(linear(p, "feedForward.gate", n)) * linear(p, "feedForward.up", n)
    return x + linear(p, "feedForward.down", gated)


def bert_encoder(p, x, width, epsilon):
    q, k, v = (heads_of(linear(p, f"attention.{name}", x), width) for name in ("query", "key", "value"))
    attended = linear(p, "attention.output", attend(q, k, v, 1 / math.sqrt(width)))
    x = layer_norm(p, "attention.norm", attended + x, epsilon)
    fed = linear(p, "feedForward.down", F.gelu(linear(p, "feedForward.up", x)))
    return layer_norm(p, "feedForward.norm", fed + x, epsilon)


def vit_encoder(p, x, width, epsilon):
    n = layer_norm(p, "attention.norm", x, epsilon)
    q, k, v = (heads_of(linear(p, f"attention.{name}", n), width) for name in ("query", "key", "value"))
    x = x + linear(p, "attention.output", attend(q, k, v, 1 / math.sqrt(width)))
    n = layer_norm(p, "feedForward.norm", x, epsilon)
    return x + linear(p, "feedForward.down", F.gelu(linear(p, "feedForward.up", n)))


def bert_embedding(p, tokens, epsilon):
    places = p["position.weight"][: tokens.shape[0]] + p["segment.weight"][0]
    return layer_norm(p, "norm", p["token.weight"][tokens] + places.unsqueeze(1), epsilon)


def vit_embedding(p, pixels):
    patches = linear(p, "patch", pixels)
    first = p["class.weight"].expand(1, pixels.shape[1], -1)
    return torch.cat([first, patches]) + p["position.weight"].unsqueeze(1)


def cross_entropy(logits, labels, loss_tokens):
    flat = logits.reshape(-1, logits.shape[-1])
    return F.cross_entropy(flat, labels.reshape(-1), ignore_index=-100, reduction="sum") / loss_tokens


def bert_head(p, x, labels, loss_tokens, epsilon):
    x = layer_norm(p, "norm", F.gelu(linear(p, "transform", x)), epsilon)
    return cross_entropy(linear(p, "output", x), labels, loss_tokens)


def vit_head(p, x, labels, loss_tokens, epsilon):
    return cross_entropy(linear(p, "output", layer_norm(p, "norm", x[0], epsilon)), labels, loss_tokens)


def llama_head(p, x, labels, loss_tokens, epsilon):
    return cross_entropy(linear(p, "output", rms_norm(p, "norm", x, epsilon)), labels, loss_tokens)


def attention_shapes(hidden, queries, keys, bias):
    shapes = {}
    for name, out, inner in (
        ("query", queries, hidden),
        ("key", keys, hidden),
        ("value", keys, hidden),
        ("output", hidden, queries),
    ):
        shapes[f"attention.{name}.weight"] = (out, inner)
        if bias and (bias == "all" or name != "output"):
            shapes[f"attention.{name}.bias"] = (out,)
    return shapes


def feed_forward_shapes(hidden, inner, bias, gate):
    shapes = {"feedForward.up.weight": (inner, hidden), "feedForward.down.weight": (hidden, inner)}
    if gate:
        shapes["feedForward.gate.weight"] = (inner, hidden)
    if bias:
        shapes |= {"feedForward.up.bias": (inner,), "feedForward.down.bias": (hidden,)}
    return shapes


def norm_shapes(name, hidden, bias):
    return {f"{name}.weight": (hidden,)} | ({f"{name}.bias": (hidden,)} if bias else {})


def encoder_shapes(hidden, inner):
    return (
        attention_shapes(hidden, hidden, hidden, "all")
        | feed_forward_shapes(hidden, inner, True, False)
        | norm_shapes("attention.norm", hidden, True)
        | norm_shapes("feedForward.norm", hidden, True)
    )
