"""Makes test/golden/graph/<family>-gradients.json for the families after GPT: PyTorch's answers (CPU, float32)."""

import torch

import family_reference as ref
import swin_reference as swin_ref
import t5_reference as t5_ref
from galvatron_random import normal
from golden_tensors import activation, gradients, ids, parameter, write

SEQUENCE, SAMPLES, HIDDEN = 8, 3, 16


def parameters(shapes):
    return {name: parameter(name, shape) for name, shape in shapes.items()}


def body(run, shapes, sequence=SEQUENCE):
    shape = (sequence, SAMPLES, HIDDEN)
    p, x = parameters(shapes), activation("input", shape)
    upstream = {"hidden": activation("hidden.gradient", shape).detach()}
    return gradients({"hidden": run(p, x)}, upstream, {"input": x, **p})


def embedding(run, shapes, data, sequence=SEQUENCE):
    p = parameters(shapes)
    upstream = {"hidden": activation("hidden.gradient", (sequence, SAMPLES, HIDDEN)).detach()}
    return gradients({"hidden": run(p, data)}, upstream, p)


def head(run, shapes, labels, sequence=SEQUENCE):
    p, x = parameters(shapes), activation("input", (sequence, SAMPLES, HIDDEN))
    return gradients({"loss": run(p, x, labels)}, {}, {"input": x, **p})


def result(model, loss_tokens, layers):
    return {"model": model, "samples": SAMPLES, "lossTokens": loss_tokens, "layers": layers}


def llama():
    model = {
        "layers": 2,
        "hidden": HIDDEN,
        "heads": 4,
        "keyValueHeads": 2,
        "headWidth": 6,
        "feedForward": 20,
        "sequence": SEQUENCE,
        "vocabulary": 19,
        "queryKeyValueBias": True,
        "theta": 100,
        "epsilon": 1e-6,
    }
    width, epsilon, vocabulary = model["headWidth"], model["epsilon"], model["vocabulary"]
    shape, loss_tokens = (SEQUENCE, SAMPLES), SEQUENCE * SAMPLES
    table = {"token.weight": (vocabulary, HIDDEN)}
    shapes = (
        ref.attention_shapes(HIDDEN, 4 * width, 2 * width, "inputs")
        | ref.feed_forward_shapes(HIDDEN, model["feedForward"], False, True)
        | ref.norm_shapes("attention.norm", HIDDEN, False)
        | ref.norm_shapes("feedForward.norm", HIDDEN, False)
    )
    top = ref.norm_shapes("norm", HIDDEN, False) | {"output.weight": (vocabulary, HIDDEN)}
    return result(
        model,
        loss_tokens,
        {
            "embedding": embedding(lambda p, t: p["token.weight"][t], table, ids("tokens", shape, vocabulary)),
            "decoder": body(lambda p, x: ref.llama_decoder(p, x, width, model["theta"], epsilon), shapes),
            "head": head(
                lambda p, x, y: ref.llama_head(p, x, y, loss_tokens, epsilon),
                top,
                ids("labels", shape, vocabulary),
            ),
        },
    )


def bert():
    model = {"layers": 2, "hidden": HIDDEN, "heads": 4, "sequence": SEQUENCE, "vocabulary": 19, "tied": False}
    epsilon, vocabulary = 1e-12, model["vocabulary"]
    shape, loss_tokens = (SEQUENCE, SAMPLES), SEQUENCE * SAMPLES
    tables = {
        "token.weight": (vocabulary, HIDDEN),
        "position.weight": (SEQUENCE, HIDDEN),
        "segment.weight": (2, HIDDEN),
    } | ref.norm_shapes("norm", HIDDEN, True)
    top = {
        "transform.weight": (HIDDEN, HIDDEN),
        "transform.bias": (HIDDEN,),
        "output.weight": (vocabulary, HIDDEN),
        "output.bias": (vocabulary,),
    } | ref.norm_shapes("norm", HIDDEN, True)
    return result(
        model,
        loss_tokens,
        {
            "embedding": embedding(
                lambda p, t: ref.bert_embedding(p, t, epsilon), tables, ids("tokens", shape, vocabulary)
            ),
            "encoder": body(
                lambda p, x: ref.bert_encoder(p, x, HIDDEN // 4, epsilon), ref.encoder_shapes(HIDDEN, 4 * HIDDEN)
            ),
            "head": head(
                lambda p, x, y: ref.bert_head(p, x, y, loss_tokens, epsilon), top, ids("labels", shape, vocabulary)
            ),
        },
    )


def vit():
    model = {
        "layers": 2,
        "hidden": HIDDEN,
        "heads": 4,
        "image": 6,
        "patch": 2,
        "channels": 2,
        "classes": 7,
        "padTo": 1,
    }
    epsilon, tokens, width = 1e-12, 10, 8
    pixels = torch.tensor(normal(3, "pixels", (tokens - 1, SAMPLES, width)))
    tables = {
        "patch.weight": (HIDDEN, width),
        "patch.bias": (HIDDEN,),
        "class.weight": (HIDDEN,),
        "position.weight": (tokens, HIDDEN),
    }
    top = {"output.weight": (7, HIDDEN), "output.bias": (7,)} | ref.norm_shapes("norm", HIDDEN, True)
    return result(
        model,
        SAMPLES,
        {
            "embedding": embedding(ref.vit_embedding, tables, pixels, tokens),
            "encoder": body(
                lambda p, x: ref.vit_encoder(p, x, HIDDEN // 4, epsilon),
                ref.encoder_shapes(HIDDEN, 4 * HIDDEN),
                tokens,
            ),
            "head": head(
                lambda p, x, y: ref.vit_head(p, x, y, SAMPLES, epsilon), top, ids("labels", (1, SAMPLES), 7), tokens
            ),
        },
    )


def t5():
    m = {
        "layers": 2,
        "hidden": HIDDEN,
        "heads": 4,
        "headWidth": 6,
        "feedForward": 24,
        "sequence": SEQUENCE,
        "encoderSequence": 12,
        "vocabulary": 19,
        "buckets": 8,
        "farthest": 10,
        "epsilon": 1e-6,
        "tied": True,
    }
    heads, buckets, vocabulary, long = m["heads"], m["buckets"], m["vocabulary"], m["encoderSequence"]
    inner, loss_tokens = heads * m["headWidth"], SEQUENCE * SAMPLES
    shapes = {
        "encoder": (long, SAMPLES, HIDDEN),
        "encoderBias": (long, SAMPLES, -(-buckets * heads // long)),
        "decoder": (SEQUENCE, SAMPLES, HIDDEN),
        "decoderBias": (SEQUENCE, SAMPLES, -(-buckets * heads // SEQUENCE)),
    }

    def upstream(names):
        return {name: activation(f"{name}.gradient", shapes[name]).detach() for name in names}

    def inputs(names):
        return {f"{name}.input": activation(f"{name}.input", shapes[name]) for name in names}

    def attention(name):
        plain = {
            f"{name}.{part}": shape
            for part, shape in (
                ("query.weight", (inner, HIDDEN)),
                ("key.weight", (inner, HIDDEN)),
                ("value.weight", (inner, HIDDEN)),
                ("output.weight", (HIDDEN, inner)),
            )
        }
        return plain | ref.norm_shapes(f"{name}.norm", HIDDEN, False)

    fed = ref.feed_forward_shapes(HIDDEN, m["feedForward"], False, False)
    fed |= ref.norm_shapes("feedForward.norm", HIDDEN, False)

    p = parameters(
        {
            "token.weight": (vocabulary, HIDDEN),
            "encoderBias.weight": (buckets, heads),
            "decoderBias.weight": (buckets, heads),
        }
    )
    tokens = ids("tokens", (long, SAMPLES), vocabulary)
    decoder_tokens = ids("decoderTokens", (SEQUENCE, SAMPLES), vocabulary)
    outputs = {
        "encoder": p["token.weight"][tokens],
        "encoderBias": t5_ref.carry(p["encoderBias.weight"], long, SAMPLES),
        "decoder": p["token.weight"][decoder_tokens],
        "decoderBias": t5_ref.carry(p["decoderBias.weight"], SEQUENCE, SAMPLES),
    }
    layers = {"embedding": gradients(outputs, upstream(outputs), p)}

    def handed_on(x, names):
        """Values that pass a layer unchanged, as outputs of their own."""
        return {name: x[f"{name}.input"] * 1 for name in names}

    for kind in ("encoder", "encoderEnd"):
        is_last = kind == "encoderEnd"
        x = inputs(shapes)
        p = parameters(
            attention("attention") | fed | (ref.norm_shapes("norm", HIDDEN, False) if is_last else {})
        )
        table = t5_ref.carried_table(x["encoderBias.input"], buckets, heads)
        passed = ("decoder", "decoderBias") if is_last else ("encoderBias", "decoder", "decoderBias")
        outputs = {"encoder": t5_ref.encoder(p, x["encoder.input"], table, m, is_last)} | handed_on(x, passed)
        layers[kind] = gradients(outputs, upstream(outputs), x | p)

    last = ("encoder", "decoder", "decoderBias")
    x = inputs(last)
    p = parameters(attention("attention") | attention("crossAttention") | fed)
    table = t5_ref.carried_table(x["decoderBias.input"], buckets, heads)
    out = t5_ref.decoder(p, x["decoder.input"], x["encoder.input"], table, m)
    outputs = {"decoder": out} | handed_on(x, ("encoder", "decoderBias"))
    layers["decoder"] = gradients(outputs, upstream(outputs), x | p)

    x = inputs(last)
    p = parameters(ref.norm_shapes("norm", HIDDEN, False) | {"output.weight": (vocabulary, HIDDEN)})
    normed = ref.rms_norm(p, "norm", x["decoder.input"], m["epsilon"]) * HIDDEN**-0.5
    labels = ids("labels", (SEQUENCE, SAMPLES), vocabulary)
    loss = ref.cross_entropy(normed @ p["output.weight"].T, labels, loss_tokens)
    for name in ("encoder.input", "decoderBias.input"):
        loss = loss + 0 * x[name].sum()
    layers["head"] = gradients({"loss": loss}, {}, x | p)
    return result(m, loss_tokens, layers)


def swin():
    model = {
        "depths": [2, 2],
        "hidden": 8,
        "heads": 2,
        "image": 12,
        "patch": 2,
        "channels": 2,
        "window": 3,
        "classes": 7,
        "padTo": 1,
    }
    epsilon, window, side, width, samples = 1e-5, 3, 6, 8, 2
    pixels = torch.tensor(normal(3, "pixels", (side * side, samples, 8)))
    small, large = (side * side, samples, width), (side * side // 4, samples, 2 * width)

    def layer(run, shapes, entering, leaving):
        p, x = parameters(shapes), activation("input", entering)
        return gradients({"hidden": run(p, x)}, {"hidden": activation("hidden.gradient", leaving).detach()}, {"input": x, **p})

    def blocks(hidden, heads):
        return swin_ref.block_shapes("first", hidden, heads, window) | swin_ref.block_shapes(
            "second", hidden, heads, window
        )

    p = parameters({"patch.weight": (width, 8), "patch.bias": (width,)} | ref.norm_shapes("norm", width, True))
    first = swin_ref.embedding(p, pixels, epsilon)
    upstream = {"hidden": activation("hidden.gradient", small).detach()}
    layers = {"embedding": gradients({"hidden": first}, upstream, p)}
    layers["stage1"] = layer(
        lambda p, x: swin_ref.pair(p, x, side, window, 2, epsilon), blocks(width, 2), small, small
    )
    reduction = {"reduction.weight": (2 * width, 4 * width)} | ref.norm_shapes("norm", 4 * width, True)
    layers["merge1"] = layer(lambda p, x: swin_ref.merge(p, x, side, epsilon), reduction, small, large)
    layers["stage2"] = layer(
        lambda p, x: swin_ref.pair(p, x, side // 2, window, 4, epsilon), blocks(2 * width, 4), large, large
    )
    top = {"output.weight": (7, 2 * width), "output.bias": (7,)} | ref.norm_shapes("norm", 2 * width, True)
    p, x = parameters(top), activation("input", large)
    loss = ref.cross_entropy(swin_ref.head(p, x, epsilon), ids("labels", (1, samples), 7), samples)
    layers["head"] = gradients({"loss": loss}, {}, {"input": x, **p})
    return result(model, samples, layers) | {"samples": samples}


FAMILIES = {"llama": llama, "bert": bert, "t5": t5, "vit": vit, "swin": swin}


def main():
    torch.set_num_threads(1)
    for name, make in FAMILIES.items():
        write(f"{name}-gradients.json", make())


if __name__ == "__main__":
    main()
