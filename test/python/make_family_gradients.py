"""Makes test/golden/graph/<family>-gradients.json for the families after GPT: PyTorch's answers (CPU, float32)."""

import torch

import family_reference as ref
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


FAMILIES = {"llama": llama, "bert": bert, "vit": vit}


def main():
    torch.set_num_threads(1)
    for name, make in FAMILIES.items():
        write(f"{name}-gradients.json", make())


if __name__ == "__main__":
    main()
