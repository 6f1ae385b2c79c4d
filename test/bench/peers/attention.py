"""PyTorch's SDPA, forward and backward, by backend."""
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel


def sdpa_runs(batch, sequence, heads, size, causal=True):
    """{backend: (forward, backward)}, calls that run once; "default" is what PyTorch picks by itself. A backend that
    cannot do this shape is left out."""
    q, k, v = (torch.randn(batch, heads, sequence, size, device="cuda", dtype=torch.bfloat16, requires_grad=True)
               for _ in range(3))
    do = torch.randn_like(q)
    runs = {}
    for name, backends in (("default", None), ("flash", [SDPBackend.FLASH_ATTENTION]), ("cudnn", [SDPBackend.CUDNN_ATTENTION])):
        def forward(backends=backends):
            with sdpa_kernel(backends) if backends else nullcontext():
                return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

        try:
            out = forward()
        except RuntimeError as error:
            print(f"  sdpa {name}: {str(error)[:200]}", flush=True)
            continue
        runs[name] = (forward, lambda out=out: torch.autograd.grad(out, (q, k, v), do, retain_graph=True))
    return runs
