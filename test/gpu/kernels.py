"""Every kernel against its decomposition in float64: fresh random inputs, odd shapes, poisoned outputs.

python3 test/gpu/kernels.py [--small] [--json FILE]     one line a case, a summary last; exit code 1 on any failure.
--small: small shapes only (for compute-sanitizer). Seeds come from the clock and are printed.
"""
import json
import math
import sys
import time

import torch
import torch.nn.functional as F

import gv

SMALL = "--small" in sys.argv
SEED = int(time.time())
torch.manual_seed(SEED)
results = []


def record(name, limit, **pairs):
    """pairs: output name -> (ours, reference)."""
    errors = {}
    for output, (ours, reference) in pairs.items():
        errors[output] = gv.relative_error(ours, reference)
    worst = max((e if e == e else math.inf) for e in errors.values())
    ok = worst <= limit
    results.append({"name": name, "ok": ok, "limit": limit, "errors": errors})
    if not ok or not SMALL:
        print(f"{'ok  ' if ok else 'FAIL'} {name}: " + " ".join(f"{k} {v:.1e}" for k, v in errors.items()), flush=True)


ONLY = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else ""


def guarded(name, case):
    if ONLY not in name:
        return
    try:
        case()
        torch.cuda.synchronize()
    except Exception as error:  # a case that breaks must not hide the others
        results.append({"name": name, "ok": False, "error": str(error)[:400]})
        print(f"FAIL {name}: {str(error)[:300]}", flush=True)


def randn(*shape, dtype=torch.bfloat16, scale=1.0, shift=0.0):
    return (torch.randn(*shape, device="cuda") * scale + shift).to(dtype)


def limit(dtype):
    return 6e-3 if dtype == torch.bfloat16 else 2e-5


def wide(x):
    return x.double().requires_grad_() if x is not None else None


NAMES = {torch.bfloat16: "bf16", torch.float32: "f32"}


def norm(rows, columns, dtype, rms, residual):
    name = f"{'rms' if rms else 'layer'} norm {rows}x{columns} {NAMES[dtype]}{' residual' if residual else ''}"

    def case():
        x, r = randn(rows, columns, dtype=dtype, shift=0.5), randn(rows, columns, dtype=dtype) if residual else None
        gamma, beta = randn(columns, dtype=dtype, shift=1.0), None if rms else randn(columns, dtype=dtype)
        dy, ds = randn(rows, columns, dtype=dtype), randn(rows, columns, dtype=dtype) if residual else None
        y, total, mean, rstd = gv.norm_forward(x, gamma, beta, r)
        dx, dgamma, dbeta = gv.norm_backward(dy, total, gamma, mean, rstd, ds)
        s = wide(total)
        g, b = wide(gamma), wide(beta)
        reference = (s / (s.square().mean(-1, keepdim=True) + 1e-5).sqrt() * g) if rms else F.layer_norm(
            s, (columns,), g, b, 1e-5)
        reference.backward(dy.double())
        pairs = {"y": (y, reference), "dx": (dx, s.grad + (ds.double() if residual else 0)), "dgamma": (dgamma, g.grad)}
        if not rms:
            pairs["dbeta"] = (dbeta, b.grad)
        if residual:
            pairs["sum"] = (total, x.double() + r.double())
        record(name, limit(dtype), **pairs)

    guarded(name, case)


def gelu(rows, columns, dtype, bias, tanh):
    name = f"gelu {'tanh' if tanh else 'erf'} {rows}x{columns} {NAMES[dtype]}{' bias' if bias else ''}"

    def case():
        x, b, dy = randn(rows, columns, dtype=dtype, scale=2), randn(columns, dtype=dtype) if bias else None, randn(
            rows, columns, dtype=dtype)
        y = gv.gelu_forward(x, b, tanh)
        dx, dbias = gv.gelu_backward(dy, x, b, tanh)
        xw = wide(x)
        bw = wide(b)
        reference = F.gelu(xw + bw if bias else xw, approximate="tanh" if tanh else "none")
        reference.backward(dy.double())
        record(name, limit(dtype), y=(y, reference), dx=(dx, xw.grad), dbias=(dbias, xw.grad.sum(0)))

    guarded(name, case)


def swiglu(rows, columns, dtype, packed):
    name = f"swiglu {rows}x{columns} {NAMES[dtype]}{' packed' if packed else ''}"

    def case():
        both = randn(rows, 2 * columns, dtype=dtype)
        gate, up = (both[:, :columns], both[:, columns:]) if packed else (randn(rows, columns, dtype=dtype) for _ in "gu")
        stride = 2 * columns if packed else columns
        dy = randn(rows, columns, dtype=dtype)
        y = gv.swiglu_forward(gate, up, stride)
        dgate, dup = gv.swiglu_backward(dy, gate, up, stride)
        g, u = wide(gate), wide(up)
        reference = F.silu(g) * u
        reference.backward(dy.double())
        record(name, limit(dtype), y=(y, reference), dgate=(dgate, g.grad), dup=(dup, u.grad))

    guarded(name, case)


def rotary(s, b, h, d, dtype, table):
    name = f"rotary {s}x{b}x{h}x{d} {NAMES[dtype]} table {NAMES[table]}"

    def case():
        x = randn(s, b, h, d, dtype=dtype)
        angle = torch.rand(s, d // 2, device="cuda") * 6.28
        cosine, sine = angle.cos().to(table), angle.sin().to(table)
        y = gv.rotary(x, cosine, sine)
        back = gv.rotary(y, cosine, sine, inverse=1)
        a, c = x.double().chunk(2, -1)
        co, si = cosine.double()[:, None, None], sine.double()[:, None, None]
        reference = torch.cat([a * co - c * si, c * co + a * si], -1)
        a, c = y.double().chunk(2, -1)
        reverse = torch.cat([a * co + c * si, c * co - a * si], -1)
        record(name, limit(dtype), y=(y, reference), inverse=(back, reverse))

    guarded(name, case)


def cross_entropy(rows, vocabulary, padded, dtype, label_type, cuts):
    name = f"cross entropy {rows}x{vocabulary}/{padded} {NAMES[dtype]} {'i64' if label_type == torch.int64 else 'i32'} cut {cuts}"

    def case():
        logits = randn(rows, padded, dtype=dtype, scale=3)
        labels = torch.randint(0, vocabulary, (rows,), device="cuda", dtype=label_type)
        labels[:: max(2, rows // 3)] = -1
        scale = 1.0 / rows
        w = wide(logits)
        reference = F.cross_entropy(w[:, :vocabulary], labels.long(), ignore_index=-1, reduction="sum") * scale
        reference.backward()
        loss, gradient = gv.cross_entropy(logits, labels, scale, vocabulary)
        record(name, limit(dtype), loss=(loss[0], reference), gradient=(gradient, w.grad))
        # A vocabulary cut over ranks: statistics combined as the all-reduces would.
        width = padded // cuts
        parts = [logits[:, i * width:(i + 1) * width].contiguous() for i in range(cuts)]
        offsets = [torch.tensor([i * width], device="cuda", dtype=torch.int64) for i in range(cuts)]
        stats = [gv.softmax_statistics(p, labels, o, vocabulary) for p, o in zip(parts, offsets)]
        top = torch.stack([m for m, _ in stats]).max(0).values
        total = sum(s * (m - top).exp() for m, s in stats)
        log_sum = (top + total.log()).contiguous()
        losses = sum(gv.cross_entropy_loss(p, labels, o, log_sum, scale) for p, o in zip(parts, offsets))
        gradients = [gv.cross_entropy_gradient(p, labels, o, log_sum, scale, vocabulary) for p, o in zip(parts, offsets)]
        record(name + " sliced", limit(dtype), loss=(losses[0], reference), gradient=(torch.cat(gradients, 1), w.grad))
        own = logits.clone()
        gv.cross_entropy(own, labels, scale, vocabulary, inplace=True)
        record(name + " in place", 0.0, gradient=(own, gradient))

    guarded(name, case)


def embedding(rows, columns, vocabulary, dtype, token_type, skewed):
    name = f"embedding {rows}x{columns} of {vocabulary} {NAMES[dtype]}{' skewed' if skewed else ''}"

    def case():
        top = 3 if skewed else vocabulary + 5  # a few outside: skipped
        tokens = torch.randint(0, top, (rows,), device="cuda", dtype=token_type)
        table, position = randn(vocabulary, columns, dtype=dtype), randn(rows, columns, dtype=dtype)
        dy = randn(rows, columns, dtype=dtype)
        inside = tokens < vocabulary
        y = gv.embedding_forward(tokens, table, position)
        reference = torch.where(inside[:, None], table.double()[tokens.long().clamp(max=vocabulary - 1)], 0.0) + position.double()
        gradient = gv.embedding_backward(tokens, dy, vocabulary)
        expected = torch.zeros(vocabulary, columns, device="cuda", dtype=torch.float64)
        expected.index_add_(0, tokens.long()[inside], dy.double()[inside])
        again = gv.embedding_backward(tokens, dy, vocabulary)
        twice = gv.embedding_backward(tokens, dy, vocabulary, out=gradient.clone(), accumulate=1)
        record(name, limit(dtype), y=(y, reference), gradient=(gradient, expected), accumulated=(twice, 2 * expected))
        record(name + " repeats", 0.0, bits=(again, gradient))

    guarded(name, case)


def sums(rows, columns, dtype):
    name = f"column sum {rows}x{columns} {NAMES[dtype]}"

    def case():
        x = randn(rows, columns, dtype=dtype, shift=0.3)
        record(name, 2e-5, sum=(gv.column_sum(x), x.double().sum(0)))

    guarded(name, case)


def optimizer(elements, gradient_type, with_copy):
    name = f"adamw {elements} gradient {NAMES[gradient_type]}"

    def case():
        p, m, v = (torch.randn(elements, device="cuda") for _ in "pmv")
        v = v.square()
        g = randn(elements, dtype=gradient_type)
        copy = gv.poisoned((elements,), torch.bfloat16) if with_copy else None
        decay = elements * 2 // 3
        rate, b1, b2, eps, wd, step = 1e-2, 0.9, 0.95, 1e-8, 0.1, 7
        hyper = torch.tensor([rate, b1, b2, eps, wd, 1 - b1**step, 1 - b2**step, 1.0], device="cuda")
        squares = gv.sum_squares([p], gv.sum_squares([g]))
        clip = gv.poisoned((2,), torch.float32)
        gv.check(gv.lib.gv_clip(gv.stream(), gv.pointer(squares), gv.pointer(hyper), gv.pointer(clip)))
        total = g.double().square().sum() + p.double().square().sum()
        factor = min(1.0, 1.0 / (total.sqrt().item() + 1e-6))
        h = hyper.double()
        gd = g.double() * factor
        md, vd = h[1] * m.double() + (1 - h[1]) * gd, h[2] * v.double() + (1 - h[2]) * gd.square()
        weights = torch.where(torch.arange(elements, device="cuda") < decay, h[4], 0.0)
        pd = p.double() * (1 - h[0] * weights) - h[0] * (md / h[5]) / ((vd / h[6]).sqrt() + h[3])
        gv.adamw(p, g, m, v, copy, decay, hyper, clip)
        pairs = {"parameter": (p, pd), "moment1": (m, md), "moment2": (v, vd), "squares": (squares[0], total),
                 "clip": (clip, torch.tensor([factor, total.sqrt()], device="cuda"))}
        record(name, 2e-6, **pairs)
        if with_copy:
            record(name + " copy", 0.0, copy=(copy, p.bfloat16()))

    guarded(name, case)


def elementwise(elements):
    name = f"cast, accumulate, add, fill {elements}"

    def case():
        for a in (torch.float32, torch.bfloat16):
            for b in (torch.float32, torch.bfloat16):
                x, y = randn(elements, dtype=a), randn(elements, dtype=b)
                out = gv.poisoned((elements,), b)
                gv.check(gv.lib.gv_cast(gv.stream(), gv.TYPES[a], gv.TYPES[b], gv.pointer(x), gv.pointer(out), gv.i64(elements)))
                total = y.clone()
                gv.check(gv.lib.gv_accumulate(gv.stream(), gv.TYPES[a], gv.TYPES[b], gv.pointer(x), gv.pointer(total), gv.i64(elements)))
                record(f"{name} {NAMES[a]} to {NAMES[b]}", 0.0, cast=(out, x.to(b)), sum=(total, (x.float() + y.float()).to(b)))
        out = gv.poisoned((elements,), torch.bfloat16)
        gv.check(gv.lib.gv_fill(gv.stream(), 1, gv.pointer(out), gv.ctypes.c_double(0.25), gv.i64(elements)))
        record(name + " fill", 0.0, fill=(out, torch.full_like(out, 0.25)))

    guarded(name, case)


def sum_pieces(count, elements, offset=0):
    name = f"sum of {count} pieces of {elements}{f' from element {offset}' if offset else ''}"

    def case():
        for dtype in (torch.float32, torch.bfloat16):
            whole = [randn(elements + offset, dtype=dtype) for _ in range(count)]
            pieces = [one[offset:] for one in whole]
            expected = sum(one.double() for one in pieces)
            addresses = (gv.ctypes.c_void_p * count)(*[one.data_ptr() for one in pieces])
            out = gv.poisoned((elements,), dtype)
            call = lambda to: gv.check(gv.lib.gv_sum_pieces(gv.stream(), gv.TYPES[dtype], addresses, count, gv.pointer(to), gv.i64(elements)))
            call(out)
            # A rank's own piece may be where the sum goes.
            call(pieces[0])
            record(f"{name} {NAMES[dtype]}", limit(dtype), sum=(out, expected), inplace=(pieces[0], expected))

    guarded(name, case)


def attention(sq, sk, b, h, g, d, causal, bias_batch=0):
    name = f"attention q{sq} k{sk} b{b} h{h}/{g} d{d}{' causal' if causal else ''}{f' bias {bias_batch}' if bias_batch else ''}"

    def case():
        q, k, v = randn(sq, b, h, d), randn(sk, b, g, d), randn(sk, b, g, d)
        do = randn(sq, b, h, d)
        bias = randn(bias_batch, h, sq, sk) if bias_batch else None
        scale = d**-0.5
        o, statistics = gv.attention_forward(q, k, v, scale, causal, bias)
        dq, dk, dv, db = gv.attention_backward(q, k, v, o, do, statistics, scale, causal, bias, dbias=bias is not None)
        qw, kw, vw, bw = wide(q), wide(k), wide(v), wide(bias)
        scores = torch.einsum("sbhd,tbhd->bhst", qw, kw.repeat_interleave(h // g, 2)) * scale
        if bias is not None:
            scores = scores + bw
        if causal:
            seen = torch.ones(sq, sk, device="cuda", dtype=torch.bool).tril(sk - sq)
            scores = scores.masked_fill(~seen, -math.inf)
        reference = torch.einsum("bhst,tbhd->sbhd", scores.softmax(-1), vw.repeat_interleave(h // g, 2))
        reference.backward(do.double())
        pairs = {"o": (o, reference), "lse": (statistics, scores.logsumexp(-1)), "dq": (dq, qw.grad), "dk": (dk, kw.grad),
                 "dv": (dv, vw.grad)}
        if bias is not None:
            pairs["dbias"] = (db, bw.grad)
        record(name, 1.2e-2, **pairs)

    guarded(name, case)


def matmul(m, n, k, dtype):
    name = f"matmul {m}x{n}x{k} {NAMES[dtype]}"

    def case():
        bf16 = dtype == torch.bfloat16
        x, w, bias = randn(m, k, dtype=dtype), randn(n, k, dtype=dtype), randn(n, dtype=dtype)
        dy = randn(m, n, dtype=dtype)
        xd, wd, dyd = x.double(), w.double(), dy.double()
        tolerance = 6e-3 if bf16 else 1e-5
        new = lambda *shape, t=dtype: gv.poisoned(shape, t)
        y = gv.matmul(x, w, new(m, n), transpose_b=1, epilogue=gv.BIAS, bias=bias)
        record(name + " forward", tolerance, y=(y, xd @ wd.T + bias.double()))
        residual = randn(m, n, dtype=dtype)
        y = gv.matmul(x, w, new(m, n), transpose_b=1, epilogue=gv.BIAS, bias=bias, addend=residual, beta=1.0)
        record(name + " forward with residual", tolerance, y=(y, xd @ wd.T + bias.double() + residual.double()))
        y = gv.matmul(x, w, new(m, n), transpose_b=1, addend=residual, beta=1.0)
        record(name + " forward with residual, no bias", tolerance, y=(y, xd @ wd.T + residual.double()))
        addend = randn(m, k, dtype=dtype)
        dx = gv.matmul(dy, w, new(m, k), addend=addend, beta=1.0)
        record(name + " input gradient", tolerance, dx=(dx, dyd @ wd + addend.double()))
        dw = gv.matmul(dy, x, new(n, k, t=torch.float32), transpose_a=1)
        record(name + " weight gradient", 1e-4, dw=(dw, dyd.T @ xd))
        pre = randn(m, k, dtype=dtype)
        z, slope = xd @ wd.T + bias.double(), wide(pre)
        F.gelu(slope, approximate="tanh").backward(dyd @ wd)
        y, product = gv.linear_gelu(x, w, bias)
        record(name + " with gelu", tolerance, y=(y, F.gelu(z, approximate="tanh")), product=(product, z))
        dx, columns = gv.linear_input_gelu_gradient(dy, w, pre)
        record(name + " input gradient with gelu's", 1e-2, dx=(dx, slope.grad), columns=(columns, slope.grad.sum(0)))
        if bf16:
            # Both ways, whichever the two above took.
            product = new(m, n)
            y = gv.matmul(x, w, new(m, n), transpose_b=1, epilogue=gv.GELU_AUX_BIAS, bias=bias, auxiliary=product)
            record(name + " gelu epilogue", tolerance, y=(y, F.gelu(z, approximate="tanh")), product=(product, z))
            dx = gv.matmul(dy, w, new(m, k), epilogue=gv.DGELU, auxiliary=pre)
            record(name + " dgelu epilogue", 1e-2, dx=(dx, slope.grad))

    guarded(name, case)


def main():
    b16, f32 = torch.bfloat16, torch.float32
    small_norms = [(5, 64), (3, 37), (17, 256), (9, 520), (4, 1000), (6, 2048), (3, 4096), (2, 8192), (3, 9000)]
    large_norms = [(2300, 768), (2049, 2048), (1000, 4096), (513, 5120), (700, 8192), (333, 1023)]
    for rows, columns in small_norms + ([] if SMALL else large_norms):
        for dtype in (b16, f32):
            for rms in (False, True):
                norm(rows, columns, dtype, rms, False)
                norm(rows, columns, dtype, rms, True)
    shapes = [(5, 24), (3, 37), (33, 520), (7, 2048)] + ([] if SMALL else [(1031, 3072), (2049, 8192), (500, 5504)])
    for rows, columns in shapes:
        for dtype in (b16, f32):
            gelu(rows, columns, dtype, True, 1)
            gelu(rows, columns, dtype, False, 0)
            swiglu(rows, columns, dtype, True)
            swiglu(rows, columns, dtype, False)
            sums(rows, columns, dtype)
    for s, b, h, d in [(5, 2, 3, 64), (7, 1, 2, 10), (3, 2, 1, 128), (6, 2, 4, 64), (5, 3, 6, 32)] + ([] if SMALL else [(515, 3, 16, 128)]):
        for dtype in (b16, f32):
            for table in (b16, f32):
                rotary(s, b, h, d, dtype, table)
    for rows, vocabulary, padded, cuts in [(6, 50, 64, 2), (7, 37, 37, 1), (5, 1000, 1024, 4)] + (
            [] if SMALL else [(257, 50257, 50304, 2), (130, 128000, 128256, 4), (64, 32000, 32000, 2)]):
        for dtype in (b16, f32):
            cross_entropy(rows, vocabulary, padded, dtype, torch.int64, cuts)
        cross_entropy(rows, vocabulary, padded, b16, torch.int32, cuts)
    for rows, columns, vocabulary, skewed in [(40, 64, 11, False), (33, 37, 7, True), (64, 264, 300, False)] + (
            [] if SMALL else [(4099, 768, 50304, False), (5000, 1024, 1000, True)]):
        for dtype in (b16, f32):
            embedding(rows, columns, vocabulary, dtype, torch.int64, skewed)
        embedding(rows, columns, vocabulary, b16, torch.int32, skewed)
    for elements in (1, 7, 1000, 4096 + 5) + (() if SMALL else (3_000_001,)):
        optimizer(elements, f32, True)
        optimizer(elements, b16, False)
        elementwise(elements)
    for count, elements, offset in ((2, 1003, 0), (4, 300_000, 0), (4, 4097, 1), (16, 50_000, 8)):
        sum_pieces(count, elements, offset)
    for m, n, k in [(48, 64, 32)] + ([] if SMALL else [(2048, 3072, 768), (1000, 520, 264)]):
        matmul(m, n, k, b16)
        matmul(m, n, k, f32)
    cases = [(64, 64, 2, 2, 2, 64, True, 0), (128, 128, 1, 4, 2, 128, True, 0), (72, 136, 2, 2, 1, 64, False, 0)]
    if not SMALL:
        cases += [(1024, 1024, 2, 12, 12, 64, True, 0), (515, 515, 3, 4, 4, 128, True, 0), (300, 700, 2, 8, 2, 128, True, 0),
                  (512, 512, 2, 8, 8, 64, False, 2), (512, 512, 3, 8, 8, 64, True, 1), (49, 49, 64, 4, 4, 32, False, 64),
                  (197, 197, 4, 12, 12, 64, False, 0), (256, 512, 2, 8, 8, 64, False, 1), (128, 128, 2, 4, 4, 80, True, 0)]
    for case in cases:
        attention(*case)
    failed = [r for r in results if not r["ok"]]
    if "--json" in sys.argv:
        with open(sys.argv[sys.argv.index("--json") + 1], "w") as file:
            json.dump({"seed": SEED, "cases": results}, file, indent=1)
    print(f"kernels: {len(results) - len(failed)} of {len(results)} pass (seed {SEED})")
    for r in failed:
        print("  failed:", r["name"], r.get("error") or r["errors"])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
