"""Times of our kernels beside PyTorch's for the same work, and the floor by bytes or operations.

python3 test/gpu/timings.py [--json FILE] [--parts memory,attention,matmul]
"""
import json
import os
import statistics
import sys

import torch
import torch.nn.functional as F

import gv

sys.path.insert(0, os.path.join(gv.ROOT, "test", "bench", "peers"))
from attention import sdpa_runs  # noqa: E402

rows_out = []
GB = 1e9


def report(name, ours, peer=None, floor=None, **more):
    ratio = peer / ours if peer else None
    rows_out.append({"name": name, "ours_ms": ours, "peer_ms": peer, "ratio": ratio, "floor_ms": floor, **more})
    print(f"{name:44s} ours {ours * 1e3:9.1f} us" + (f"  torch {peer * 1e3:9.1f} us  ratio {ratio:5.2f}" if peer else "")
          + (f"  floor {floor * 1e3:8.1f} us ({floor / ours * 100:3.0f} %)" if floor else ""), flush=True)


def guarded(run):
    try:
        run()
    except Exception as error:
        print(f"  {run.__name__}: {str(error)[:300]}", flush=True)


def randn(*shape, dtype=torch.bfloat16):
    return torch.randn(*shape, device="cuda", dtype=dtype)


def ceilings():
    x = randn(1 << 31)
    y = torch.empty_like(x)
    ms = gv.time_ms(lambda: y.copy_(x))
    bandwidth = 2 * x.numel() * 2 / ms / 1e6
    del x, y
    a, b = randn(8192, 8192), randn(8192, 8192)
    ms = gv.time_ms(lambda: a @ b)
    flops = 2 * 8192**3 / ms / 1e9
    print(f"copy {bandwidth:.0f} GB/s, bf16 product {flops:.0f} TFLOP/s", flush=True)
    rows_out.append({"name": "ceilings", "copy_GBps": bandwidth, "matmul_TFLOPs": flops})
    return bandwidth * 1e6, flops * 1e9  # bytes and operations a ms


def memory_bound(byte_rate):
    for rows, h in ((16384, 2048), (8192, 4096), (32768, 768)):
        x, dy = randn(rows, h), randn(rows, h)
        gamma, beta = randn(h), randn(h)
        for rms in (False, True):
            b = None if rms else beta
            y, total, mean, rstd = gv.norm_forward(x, gamma, b)
            keep = (torch.empty_like(x),)
            size = rows * h * 2

            def peer_forward(x=x):
                return F.rms_norm(x, (h,), gamma, 1e-5) if rms else F.layer_norm(x, (h,), gamma, beta, 1e-5)

            ours = gv.time_ms(lambda: gv.norm_forward(x, gamma, b, out=keep))
            report(f"{'rms' if rms else 'layer'} norm forward {rows}x{h}", ours, gv.time_ms(peer_forward), 2 * size / byte_rate)
            xg = x.clone().requires_grad_()
            gg = gamma.clone().requires_grad_()
            bg = beta.clone().requires_grad_()
            out = F.rms_norm(xg, (h,), gg, 1e-5) if rms else F.layer_norm(xg, (h,), gg, bg, 1e-5)
            wrt = (xg, gg) if rms else (xg, gg, bg)
            peer = gv.time_ms(lambda: torch.autograd.grad(out, wrt, dy, retain_graph=True))
            dx, dg, db = torch.empty_like(x), torch.empty(h, device="cuda"), torch.empty(h, device="cuda")

            def ours_backward():
                gv.check(gv.lib.gv_norm_backward(gv.stream(), 1, 0, int(rms), 0, gv.pointer(dy), gv.pointer(total), gv.pointer(gamma),
                                                 gv.pointer(mean), gv.pointer(rstd), None, gv.pointer(dx), gv.pointer(dg),
                                                 gv.pointer(None if rms else db), gv.i64(rows), gv.i64(h)))

            report(f"{'rms' if rms else 'layer'} norm backward {rows}x{h}", gv.time_ms(ours_backward), peer, 3 * size / byte_rate)
    rows, f = 16384, 8192
    x, dy, y, bias = randn(rows, f), randn(rows, f), torch.empty(rows, f, device="cuda", dtype=torch.bfloat16), randn(f)
    size = rows * f * 2
    report("gelu forward 16384x8192", gv.time_ms(lambda: gv.gelu_forward(x, None, 1, y)),
           gv.time_ms(lambda: F.gelu(x, approximate="tanh")), 2 * size / byte_rate)
    db = torch.empty(f, device="cuda")

    def gelu_backward(sums):
        gv.check(gv.lib.gv_gelu_backward(gv.stream(), 1, 0, 1, 0, gv.pointer(dy), gv.pointer(x), None, gv.pointer(y),
                                         gv.pointer(sums), gv.i64(rows), gv.i64(f)))

    report("gelu backward 16384x8192", gv.time_ms(lambda: gelu_backward(None)),
           gv.time_ms(lambda: torch.ops.aten.gelu_backward(dy, x, approximate="tanh")), 3 * size / byte_rate)
    report("gelu backward with bias sums 16384x8192", gv.time_ms(lambda: gelu_backward(db)), None, 3 * size / byte_rate)
    report("column sum 16384x8192", gv.time_ms(lambda: gv.column_sum(x, db)), gv.time_ms(lambda: x.sum(0)), size / byte_rate)
    small, small_out = randn(16384, 2048), torch.empty(2048, device="cuda")
    report("column sum 16384x2048", gv.time_ms(lambda: gv.column_sum(small, small_out)), gv.time_ms(lambda: small.sum(0)),
           16384 * 2048 * 2 / byte_rate)
    del x, dy, y
    f = 5504
    gate, up, dy = randn(rows, f), randn(rows, f), randn(rows, f)
    outs = [torch.empty_like(gate) for _ in range(2)]
    report("swiglu forward 16384x5504",
           gv.time_ms(lambda: gv.check(gv.lib.gv_swiglu_forward(gv.stream(), 1, gv.pointer(gate), gv.pointer(up), gv.i64(f),
                                                                gv.pointer(outs[0]), gv.i64(rows), gv.i64(f)))),
           gv.time_ms(lambda: F.silu(gate) * up), 3 * rows * f * 2 / byte_rate)
    report("swiglu backward 16384x5504",
           gv.time_ms(lambda: gv.check(gv.lib.gv_swiglu_backward(gv.stream(), 1, gv.pointer(dy), gv.pointer(gate), gv.pointer(up),
                                                                 gv.i64(f), gv.pointer(outs[0]), gv.pointer(outs[1]), gv.i64(f),
                                                                 gv.i64(rows), gv.i64(f)))), None, 5 * rows * f * 2 / byte_rate)
    del gate, up, dy, outs
    x = randn(2048, 8, 16, 128)
    angle = torch.rand(2048, 64, device="cuda")
    cosine, sine, y = angle.cos(), angle.sin(), torch.empty_like(x)
    report("rotary 2048x8x16x128", gv.time_ms(lambda: gv.rotary(x, cosine, sine, 0, y)), None, 2 * x.numel() * 2 / byte_rate)
    for rows, vocabulary in ((32768, 50304), (16384, 32000)):
        logits = randn(rows, vocabulary)
        labels = torch.randint(0, vocabulary, (rows,), device="cuda")
        gradient = torch.empty_like(logits)
        offset = torch.zeros(1, device="cuda", dtype=torch.int64)
        size = logits.numel() * 2
        shape = gv.logits_shape(logits, labels)
        loss = torch.empty(1, device="cuda")
        report(f"cross entropy fused {rows}x{vocabulary}",
               gv.time_ms(lambda: gv.check(gv.lib.gv_cross_entropy(gv.stream(), gv.ctypes.byref(shape), gv.pointer(logits), gv.pointer(labels),
                                                                   gv.f32(1e-5), None, None, gv.pointer(loss), gv.pointer(gradient)))),
               None, 2 * size / byte_rate)
        report(f"  statistics {rows}x{vocabulary}", gv.time_ms(lambda: gv.softmax_statistics(logits, labels, offset, vocabulary)), None,
               size / byte_rate)
        log_sum = torch.full((rows,), 11.0, device="cuda")
        report(f"  gradient {rows}x{vocabulary}",
               gv.time_ms(lambda: gv.cross_entropy_gradient(logits, labels, offset, log_sum, 1e-5, vocabulary, gradient)), None,
               2 * size / byte_rate)
        del logits, gradient
    tokens = torch.randint(0, 50304, (32768,), device="cuda")
    dy, table = randn(32768, 768), torch.empty(50304, 768, device="cuda")
    report("embedding backward 32768x768 of 50304", gv.time_ms(lambda: gv.embedding_backward(tokens, dy, 50304, table)),
           gv.time_ms(lambda: torch.ops.aten.embedding_dense_backward(dy, tokens, 50304, -1, False)),
           (dy.numel() * 2 + table.numel() * 4) / byte_rate)
    n = 124_000_000
    p, m, v = (torch.randn(n, device="cuda") for _ in "pmv")
    v = v.abs()
    g, copy = torch.randn(n, device="cuda"), torch.empty(n, device="cuda", dtype=torch.bfloat16)
    hyper = torch.tensor([1e-4, 0.9, 0.95, 1e-8, 0.1, 0.5, 0.4, 1.0], device="cuda")
    clip = torch.ones(2, device="cuda")
    pp = torch.nn.Parameter(p.clone())
    pp.grad = g.clone()
    optimizer = torch.optim.AdamW([pp], lr=1e-4, fused=True)
    report("adamw 124M, float32 gradient, bf16 copy", gv.time_ms(lambda: gv.adamw(p, g, m, v, copy, n, hyper, clip)),
           gv.time_ms(optimizer.step), 30 * n / byte_rate)
    report("sum of squares 124M", gv.time_ms(lambda: gv.sum_squares([g])), gv.time_ms(lambda: torch.linalg.vector_norm(g)),
           4 * n / byte_rate)


def attention():
    for batch, sequence, heads, size in ((8, 2048, 16, 128), (4, 2048, 32, 128), (32, 1024, 12, 64)):
        q, k, v, do = (randn(sequence, batch, heads, size) for _ in range(4))
        scale = size**-0.5
        o, log_sum = gv.attention_forward(q, k, v, scale, True)
        grads = [torch.empty_like(t) for t in (q, k, v)]
        label = f"b{batch} s{sequence} h{heads} d{size} causal"
        def backward(deterministic=0):
            return gv.attention_backward(q, k, v, o, do, log_sum, scale, True, deterministic=deterministic, out=grads)

        ours = (lambda: gv.attention_forward(q, k, v, scale, True, None, (o, log_sum)), backward)
        peers = sdpa_runs(batch, sequence, heads, size)
        flops = 2 * batch * heads * sequence * sequence * size  # two products, causal half
        for way, name, factor in ((0, "forward", 1), (1, "backward", 2.5)):
            # In turns, for on a warm device all are slower; what is far behind takes no turn.
            quick = {backend: gv.time_ms(runs[way]) for backend, runs in peers.items()}
            near = [backend for backend, ms in quick.items() if ms < 1.3 * min(quick.values())]
            times = gv.time_turns([ours[way], *(peers[backend][way] for backend in near)])
            ms, *near_ms = (statistics.median(own) for own in times)
            by_backend = {**quick, **dict(zip(near, near_ms))}
            print("  sdpa", label, name, by_backend, flush=True)
            report(f"attention {name} {label}", ms, by_backend["default"], None, tflops=factor * flops / ms / 1e9,
                   peers=by_backend, best_peer=min(near_ms))
        report(f"attention backward, fixed order {label}", gv.time_ms(lambda: backward(1)))


def matmuls(rate):
    for rows, k, n in ((16384, 2048, 2048), (16384, 2048, 8192), (16384, 8192, 2048), (8192, 4096, 4096), (8192, 4096, 16384),
                       (8192, 16384, 4096), (8192, 4096, 11008), (8192, 11008, 4096), (32768, 768, 768), (32768, 768, 3072),
                       (32768, 768, 50304)):
        x, w, bias, dy = randn(rows, k), randn(n, k), randn(n), randn(rows, n)
        y, dx, dw = torch.empty_like(dy), torch.empty_like(x), torch.empty(n, k, device="cuda")
        dwb = torch.empty(n, k, device="cuda", dtype=torch.bfloat16)
        floor = 2 * rows * k * n / rate
        label = f"{rows}x{n}x{k}"
        report(f"linear + bias {label}", gv.time_ms(lambda: gv.matmul(x, w, y, transpose_b=1, epilogue=gv.BIAS, bias=bias)),
               gv.time_ms(lambda: F.linear(x, w, bias)), floor)
        report(f"linear + bias + residual {label}",
               gv.time_ms(lambda: gv.matmul(x, w, y, transpose_b=1, epilogue=gv.BIAS, bias=bias, addend=dy, beta=1.0)),
               gv.time_ms(lambda: F.linear(x, w, bias) + dy), floor)
        report(f"input gradient {label}", gv.time_ms(lambda: gv.matmul(dy, w, dx)), gv.time_ms(lambda: dy @ w), floor)
        report(f"weight gradient float32 {label}", gv.time_ms(lambda: gv.matmul(dy, x, dw, transpose_a=1)),
               gv.time_ms(lambda: dy.T @ x), floor)
        report(f"weight gradient bf16 {label}", gv.time_ms(lambda: gv.matmul(dy, x, dwb, transpose_a=1)), None, floor)

        def gelu_products():
            pre, up = randn(rows, k), torch.empty_like(y)
            together = lambda: gv.matmul(x, w, y, transpose_b=1, epilogue=gv.GELU_AUX_BIAS, bias=bias, auxiliary=up)
            report(f"linear + gelu, one kernel {label}", gv.time_ms(together), None, floor)
            report(f"linear + gelu, the faster {label}", gv.time_ms(lambda: gv.linear_gelu(x, w, bias, out=(y, up))),
                   None, floor)
            together = lambda: (gv.matmul(dy, w, dx, epilogue=gv.DGELU, auxiliary=pre), gv.column_sum(dx, sums))
            sums = torch.empty(k, device="cuda")
            report(f"gelu's input gradient, one kernel and sums {label}", gv.time_ms(together), None, floor)
            report(f"gelu's input gradient, the faster {label}",
                   gv.time_ms(lambda: gv.linear_input_gelu_gradient(dy, w, pre, out=(dx, sums))), None, floor)

        if n == 4 * k or k == 4 * n:
            guarded(gelu_products)
        del x, w, dy, y, dx, dw


def main():
    parts = sys.argv[sys.argv.index("--parts") + 1].split(",") if "--parts" in sys.argv else ["memory", "attention", "matmul"]
    byte_rate, flop_rate = ceilings()
    if "memory" in parts:
        guarded(lambda: memory_bound(byte_rate))
    if "attention" in parts:
        guarded(attention)
    if "matmul" in parts:
        guarded(lambda: matmuls(flop_rate))
    if "--json" in sys.argv:
        with open(sys.argv[sys.argv.index("--json") + 1], "w") as file:
            json.dump(rows_out, file, indent=1)


if __name__ == "__main__":
    main()
