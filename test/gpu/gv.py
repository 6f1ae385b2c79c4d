"""ctypes face of libgalvatron_cuda.so, over PyTorch tensors: for the checks and benchmarks of this folder."""
import ctypes
import os
import statistics

import torch

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
LIBRARY = os.environ.get("GALVATRON_CUDA", os.path.join(ROOT, "build", "native", "libgalvatron_cuda.so"))
lib = ctypes.CDLL(LIBRARY)
lib.gv_last_error.restype = ctypes.c_char_p
lib.gv_scratch_bytes.restype = ctypes.c_size_t
lib.gv_graphs_open.restype = ctypes.c_void_p
lib.gv_graphs_peak_bytes.restype = ctypes.c_int64
TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float64: 2, torch.int32: 3, torch.int64: 4}
ONNX_TYPES = {torch.float32: 1, torch.int32: 6, torch.int64: 7, torch.float64: 11, torch.bfloat16: 16}


def pointer(x):
    return ctypes.c_void_p(0 if x is None else x.data_ptr())


def stream():
    return ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)


def check(code):
    if code != 0:
        raise RuntimeError(lib.gv_last_error().decode())


def i64(x):
    return ctypes.c_int64(x)


def f32(x):
    return ctypes.c_float(x)


def poisoned(shape, dtype):
    """Memory that a kernel must write whole: NaN everywhere."""
    return torch.full(shape, float("nan"), dtype=dtype, device="cuda")


class Attention(ctypes.Structure):
    _fields_ = (
        [(n, ctypes.c_int64) for n in ("batch", "heads", "key_heads", "queries", "keys", "size")]
        + [(f"{t}_{a}_stride", ctypes.c_int64) for t in "qkvo" for a in ("sequence", "batch")]
        + [("bias_batch", ctypes.c_int64), ("bias_heads", ctypes.c_int64), ("scale", ctypes.c_float)]
        + [(n, ctypes.c_int32) for n in ("causal", "type", "deterministic", "bias_gradient", "zero")]
    )


class Matmul(ctypes.Structure):
    _fields_ = (
        [(n, ctypes.c_int64) for n in ("m", "n", "k")]
        + [(n, ctypes.c_int32) for n in ("transpose_a", "transpose_b")]
        + [(n, ctypes.c_int64) for n in ("lead_a", "lead_b", "lead_c")]
        + [(n, ctypes.c_int32) for n in ("a_type", "b_type", "c_type", "bias_type", "epilogue", "zero")]
        + [("alpha", ctypes.c_float), ("beta", ctypes.c_float)]
    )


class Logits(ctypes.Structure):
    _fields_ = [(n, ctypes.c_int64) for n in ("rows", "columns", "stride", "gradient_stride", "vocabulary")] + [
        ("offset", ctypes.c_void_p),
        ("type", ctypes.c_int32),
        ("label_type", ctypes.c_int32),
    ]


class Tensor(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
        ("bytes", ctypes.c_int64),
        ("element_type", ctypes.c_int32),
        ("axes", ctypes.c_int32),
        ("shape", ctypes.c_int64 * 6),
    ]


def norm_forward(x, gamma, beta, residual=None, epsilon=1e-5, out=None):
    rows, columns = x.shape
    rms = beta is None
    y = poisoned(x.shape, x.dtype) if out is None else out[0]
    total = poisoned(x.shape, x.dtype) if residual is not None else None
    mean = poisoned((rows,), torch.float32) if not rms else None
    rstd = poisoned((rows,), torch.float32)
    check(lib.gv_norm_forward(stream(), TYPES[x.dtype], int(rms), pointer(x), pointer(residual), pointer(gamma),
                              pointer(beta), pointer(total), pointer(y), pointer(mean), pointer(rstd), i64(rows),
                              i64(columns), f32(epsilon)))
    return y, total if total is not None else x, mean, rstd


def norm_backward(dy, total, gamma, mean, rstd, residual_gradient=None):
    rows, columns = dy.shape
    rms = mean is None
    dx = poisoned(dy.shape, dy.dtype)
    dgamma = poisoned((columns,), torch.float32)
    dbeta = poisoned((columns,), torch.float32) if not rms else None
    check(lib.gv_norm_backward(stream(), TYPES[dy.dtype], 0, int(rms), 0, pointer(dy), pointer(total), pointer(gamma),
                               pointer(mean), pointer(rstd), pointer(residual_gradient), pointer(dx), pointer(dgamma),
                               pointer(dbeta), i64(rows), i64(columns)))
    return dx, dgamma, dbeta


def gelu_forward(x, bias=None, tanh=1, y=None):
    rows, columns = x.shape
    y = poisoned(x.shape, x.dtype) if y is None else y
    check(lib.gv_gelu_forward(stream(), TYPES[x.dtype], tanh, pointer(x), pointer(bias), pointer(y), i64(rows),
                              i64(columns)))
    return y


def gelu_backward(dy, x, bias=None, tanh=1, with_bias=True):
    rows, columns = x.shape
    dx = poisoned(x.shape, x.dtype)
    dbias = poisoned((columns,), torch.float32) if with_bias else None
    check(lib.gv_gelu_backward(stream(), TYPES[x.dtype], 0, tanh, 0, pointer(dy), pointer(x), pointer(bias),
                               pointer(dx), pointer(dbias), i64(rows), i64(columns)))
    return dx, dbias


def swiglu_forward(gate, up, stride):
    rows, columns = gate.shape
    y = poisoned((rows, columns), gate.dtype)
    check(lib.gv_swiglu_forward(stream(), TYPES[gate.dtype], pointer(gate), pointer(up), i64(stride), pointer(y),
                                i64(rows), i64(columns)))
    return y


def swiglu_backward(dy, gate, up, stride):
    rows, columns = gate.shape
    dgate, dup = poisoned((rows, columns), dy.dtype), poisoned((rows, columns), dy.dtype)
    check(lib.gv_swiglu_backward(stream(), TYPES[dy.dtype], pointer(dy), pointer(gate), pointer(up), i64(stride),
                                 pointer(dgate), pointer(dup), i64(columns), i64(rows), i64(columns)))
    return dgate, dup


def rotary(x, cosine, sine, inverse=0, y=None):
    s, b, h, d = x.shape
    y = poisoned(x.shape, x.dtype) if y is None else y
    check(lib.gv_rotary(stream(), TYPES[x.dtype], TYPES[cosine.dtype], inverse, pointer(x), i64(h * d),
                        pointer(cosine), pointer(sine), pointer(y), i64(h * d), i64(s), i64(b), i64(h), i64(d)))
    return y


def logits_shape(logits, labels, offset=None, vocabulary=None):
    rows, columns = logits.shape
    return Logits(rows, columns, columns, columns, 2**62 if vocabulary is None else vocabulary,
                  None if offset is None else offset.data_ptr(), TYPES[logits.dtype], TYPES[labels.dtype])


def cross_entropy(logits, labels, scale, vocabulary=None, inplace=False):
    shape = logits_shape(logits, labels, None, vocabulary)
    loss = poisoned((1,), torch.float32)
    gradient = logits if inplace else poisoned(logits.shape, logits.dtype)
    check(lib.gv_cross_entropy(stream(), ctypes.byref(shape), pointer(logits), pointer(labels), f32(scale), None, None,
                               pointer(loss), pointer(gradient)))
    return loss, gradient


def softmax_statistics(logits, labels, offset, vocabulary):
    shape = logits_shape(logits, labels, offset, vocabulary)
    maximum, total = poisoned((logits.shape[0],), torch.float32), poisoned((logits.shape[0],), torch.float32)
    check(lib.gv_softmax_statistics(stream(), ctypes.byref(shape), pointer(logits), pointer(maximum), pointer(total)))
    return maximum, total


def cross_entropy_loss(logits, labels, offset, log_sum, scale):
    shape = logits_shape(logits, labels, offset)
    loss = poisoned((1,), torch.float32)
    check(lib.gv_cross_entropy_loss(stream(), ctypes.byref(shape), pointer(logits), pointer(labels), pointer(log_sum),
                                    f32(scale), pointer(loss)))
    return loss


def cross_entropy_gradient(logits, labels, offset, log_sum, scale, vocabulary, gradient=None):
    shape = logits_shape(logits, labels, offset, vocabulary)
    gradient = poisoned(logits.shape, logits.dtype) if gradient is None else gradient
    check(lib.gv_cross_entropy_gradient(stream(), ctypes.byref(shape), pointer(logits), pointer(labels),
                                        pointer(log_sum), f32(scale), pointer(gradient)))
    return gradient


def embedding_backward(tokens, dy, vocabulary, out=None, accumulate=0, first=0):
    rows, columns = dy.shape
    out = poisoned((vocabulary, columns), torch.float32) if out is None else out
    check(lib.gv_embedding_backward(stream(), TYPES[dy.dtype], TYPES[out.dtype], TYPES[tokens.dtype], accumulate,
                                    pointer(tokens), pointer(dy), pointer(out), i64(rows), i64(columns),
                                    i64(vocabulary), i64(first)))
    return out


def embedding_forward(tokens, table, position=None, batch=1, first=0):
    rows, columns = tokens.numel(), table.shape[1]
    y = poisoned((rows, columns), table.dtype)
    check(lib.gv_embedding_forward(stream(), TYPES[table.dtype], TYPES[tokens.dtype], pointer(tokens), pointer(table),
                                   pointer(position), pointer(y), i64(rows), i64(batch), i64(columns),
                                   i64(table.shape[0]), i64(first)))
    return y


def column_sum(x, out=None, accumulate=0):
    rows, columns = x.shape
    out = poisoned((columns,), torch.float32) if out is None else out
    check(lib.gv_column_sum(stream(), TYPES[x.dtype], TYPES[out.dtype], accumulate, pointer(x), pointer(out),
                            i64(rows), i64(columns), i64(columns)))
    return out


def sum_squares(tensors, out=None):
    count = len(tensors)
    types = (ctypes.c_int * count)(*[TYPES[t.dtype] for t in tensors])
    addresses = (ctypes.c_void_p * count)(*[t.data_ptr() for t in tensors])
    elements = (ctypes.c_int64 * count)(*[t.numel() for t in tensors])
    accumulate = out is not None
    out = out if accumulate else poisoned((1,), torch.float64)
    check(lib.gv_sum_squares(stream(), types, addresses, elements, count, int(accumulate), pointer(out)))
    return out


def adamw(p, g, m, v, copy, decay_elements, hyper, clip):
    check(lib.gv_adamw(stream(), TYPES[g.dtype], pointer(p), pointer(g), pointer(m), pointer(v), pointer(copy),
                       i64(p.numel()), i64(decay_elements), pointer(hyper), pointer(clip)))


def attention_shape(q, k, scale, causal, bias=None, bias_gradient=0, deterministic=0):
    sq, b, h, d = q.shape
    sk, _, g, _ = k.shape
    s = Attention()
    s.batch, s.heads, s.key_heads, s.queries, s.keys, s.size = b, h, g, sq, sk, d
    s.q_sequence_stride, s.q_batch_stride = q.stride(0), q.stride(1)
    s.k_sequence_stride, s.k_batch_stride = k.stride(0), k.stride(1)
    s.v_sequence_stride, s.v_batch_stride = k.stride(0), k.stride(1)
    s.o_sequence_stride, s.o_batch_stride = b * h * d, h * d
    if bias is not None:
        s.bias_batch, s.bias_heads = bias.shape[0], bias.shape[1]
    s.scale, s.causal, s.type = scale, int(causal), TYPES[q.dtype]
    s.deterministic, s.bias_gradient = deterministic, bias_gradient
    return s


def attention_forward(q, k, v, scale, causal, bias=None, out=None):
    shape = attention_shape(q, k, scale, causal, bias)
    sq, b, h, d = q.shape
    o = poisoned((sq, b, h, d), q.dtype) if out is None else out[0]
    statistics_ = poisoned((b, h, sq), torch.float32) if out is None else out[1]
    check(lib.gv_attention_forward(stream(), ctypes.byref(shape), pointer(q), pointer(k), pointer(v), pointer(bias),
                                   pointer(o), pointer(statistics_)))
    return o, statistics_


def attention_backward(q, k, v, o, do, statistics_, scale, causal, bias=None, dbias=False, deterministic=0, out=None):
    shape = attention_shape(q, k, scale, causal, bias, int(dbias), deterministic)
    dq, dk, dv = [poisoned(t.shape, t.dtype) for t in (q, k, v)] if out is None else out
    db = poisoned(bias.shape, bias.dtype) if dbias else None
    check(lib.gv_attention_backward(stream(), ctypes.byref(shape), pointer(q), pointer(k), pointer(v), pointer(bias),
                                    pointer(o), pointer(do), pointer(statistics_), pointer(dq), pointer(dk),
                                    pointer(dv), pointer(db)))
    return dq, dk, dv, db


NONE, BIAS, GELU_AUX_BIAS, DGELU = range(4)


def matmul(a, b, c, transpose_a=0, transpose_b=0, epilogue=NONE, bias=None, auxiliary=None, addend=None, beta=0.0):
    s = Matmul()
    s.m, s.n = c.shape
    s.k = a.shape[0] if transpose_a else a.shape[1]
    s.transpose_a, s.transpose_b = transpose_a, transpose_b
    s.lead_a, s.lead_b, s.lead_c = a.stride(0), b.stride(0), c.stride(0)
    s.a_type, s.b_type, s.c_type = TYPES[a.dtype], TYPES[b.dtype], TYPES[c.dtype]
    s.bias_type = TYPES[bias.dtype] if bias is not None else 0
    s.epilogue, s.alpha, s.beta = epilogue, 1.0, beta
    check(lib.gv_matmul(stream(), ctypes.byref(s), pointer(a), pointer(b), pointer(addend), pointer(c), pointer(bias),
                        pointer(auxiliary)))
    return c


def linear_gelu(x, weight, bias, tanh=1, out=None):
    rows, n, k = x.shape[0], *weight.shape
    y, product = out or (poisoned((rows, n), x.dtype), poisoned((rows, n), x.dtype))
    check(lib.gv_linear_gelu(stream(), TYPES[x.dtype], tanh, pointer(x), pointer(weight), pointer(bias), pointer(y),
                             pointer(product), i64(rows), i64(n), i64(k)))
    return y, product


def linear_input_gelu_gradient(dy, weight, x, tanh=1, out=None):
    rows, n, k = dy.shape[0], *weight.shape
    dx, columns = out or (poisoned((rows, k), dy.dtype), poisoned((k,), torch.float32))
    check(lib.gv_linear_input_gelu_gradient(stream(), TYPES[dy.dtype], 0, tanh, pointer(dy), pointer(weight), pointer(x),
                                            pointer(dx), pointer(columns), i64(rows), i64(n), i64(k)))
    return dx, columns


def relative_error(out, reference):
    out, reference = out.detach().double(), reference.detach().double()
    norm = reference.norm().item()
    error = (out - reference).norm().item()
    if error != error:
        return float("nan")
    return error / norm if norm > 0 else error


def time_ms(run, rounds=5, target_ms=60.0):
    """Median over rounds of the mean device time of one run, after a warm-up."""
    for _ in range(3):
        run()
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def measure(count):
        begin.record()
        for _ in range(count):
            run()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / count

    count = max(3, min(2000, int(target_ms / max(measure(3), 1e-3))))
    return statistics.median(measure(count) for _ in range(rounds))


def time_turns(runs, rounds=9, target_ms=300.0):
    """As time_ms, of several runs in turns, so that each finds the device as warm as the others do: the times of all
    rounds, one list a run."""
    for run in runs:
        time_ms(run, 1)
    times = [[] for _ in runs]
    for _ in range(rounds):
        for run, own in zip(runs, times):
            own.append(time_ms(run, 1, target_ms))
    return times


def capture(run):
    """The run as a captured CUDA graph; returns its replay."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side, capture_error_mode="relaxed"):
        run()
    return graph.replay
