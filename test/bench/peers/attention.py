"""PyTorch's SDPA, forward and backward, by backend, at the shapes of docs/benchmarks: times in ms."""
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel


def time_sdpa(time_ms, batch, sequence, heads, size, causal=True):
    """{backend: (forward_ms, backward_ms)}; "default" is what PyTorch picks by itself."""
    q, k, v = (torch.randn(batch, heads, sequence, size, device="cuda", dtype=torch.bfloat16, requires_grad=True)
               for _ in range(3))
    do = torch.randn_like(q)
    times = {}
    for name, backends in (("default", None), ("flash", [SDPBackend.FLASH_ATTENTION]), ("cudnn", [SDPBackend.CUDNN_ATTENTION])):
        def forward():
            if backends is None:
                return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
            with sdpa_kernel(backends):
                return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

        try:
            forward_ms = time_ms(forward)
            out = forward()
            backward_ms = time_ms(lambda: torch.autograd.grad(out, (q, k, v), do, retain_graph=True))
            times[name] = (forward_ms, backward_ms)
        except RuntimeError as error:
            times[name] = str(error)[:100]
    return times
