"""Makes test/golden/graph/family-training.json: 20 AdamW steps of a tiny model of each family after GPT (PyTorch, CPU)."""

import numpy as np
import torch

import family_reference as ref
import swin_reference as swin_ref
import t5_reference as t5_ref
from galvatron_random import normal, uniform
from golden_tensors import write

SEED, STEPS, SAMPLES, HIDDEN, SEQUENCE, VOCABULARY = 77, 20, 4, 16, 8, 19
OPTIMIZER = {
    "learningRate": 3e-3,
    "beta1": 0.9,
    "beta2": 0.95,
    "epsilon": 1e-8,
    "weightDecay": 0.1,
    "maxNorm": 1.0,
}
DEVIATION = 0.1


def parameters(shapes):
    result = {}
    for name, shape in shapes.items():
        if name.endswith(".bias"):
            value = torch.zeros(shape)
        elif name.endswith("norm.weight"):
            value = torch.ones(shape)
        else:
            value = torch.tensor(normal(SEED, name, shape, DEVIATION))
        result[name] = value.requires_grad_()
    return result


def part(p, prefix):
    return {name[len(prefix) + 1 :]: value for name, value in p.items() if name.startswith(f"{prefix}.")}


def prefixed(prefix, shapes):
    return {f"{prefix}.{name}": shape for name, shape in shapes.items()}


def whole(step, name, shape, limit):
    """Whole numbers below the limit, small ones more often."""
    count = int(np.prod(shape))
    u = uniform(SEED, f"{name}", step * count, count)
    return torch.tensor((u * u * limit).astype(np.int64)).reshape(shape)


def train(shapes, batch, loss_of):
    p = parameters(shapes)
    decays = lambda name, value: value.dim() > 1 or name.endswith("class.weight")  # noqa: E731
    optimizer = torch.optim.AdamW(
        [
            {
                "params": [v for n, v in p.items() if decays(n, v)],
                "weight_decay": OPTIMIZER["weightDecay"],
            },
            {"params": [v for n, v in p.items() if not decays(n, v)], "weight_decay": 0.0},
        ],
        lr=OPTIMIZER["learningRate"],
        betas=(OPTIMIZER["beta1"], OPTIMIZER["beta2"]),
        eps=OPTIMIZER["epsilon"],
    )
    losses, data = [], []
    for step in range(STEPS):
        values = batch(step)
        loss = loss_of(p, values)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(p.values(), OPTIMIZER["maxNorm"])
        optimizer.step()
        losses.append(loss.item())
        data.append(
            {
                name: {"shape": list(value.shape), "values": value.reshape(-1).tolist()}
                for name, value in values.items()
                if name != "pixels"
            }
        )
    return losses, data


def tokens_and_labels(step):
    shape = (SEQUENCE, SAMPLES)
    labels = whole(step, "labels", shape, VOCABULARY)
    labels[step % SEQUENCE, 0] = -100
    return {"tokens": whole(step, "tokens", shape, VOCABULARY), "labels": labels}


def llama():
    model = {
        "layers": 2,
        "hidden": HIDDEN,
        "heads": 4,
        "keyValueHeads": 2,
        "feedForward": 24,
        "sequence": SEQUENCE,
        "vocabulary": VOCABULARY,
        "epsilon": 1e-5,
    }
    body = (
        ref.attention_shapes(HIDDEN, HIDDEN, HIDDEN // 2, False)
        | ref.feed_forward_shapes(HIDDEN, 24, False, True)
        | ref.norm_shapes("attention.norm", HIDDEN, False)
        | ref.norm_shapes("feedForward.norm", HIDDEN, False)
    )
    shapes = {"embedding.token.weight": (VOCABULARY, HIDDEN), "head.output.weight": (VOCABULARY, HIDDEN)}
    shapes |= prefixed("layers.0", body) | prefixed("layers.1", body)
    shapes |= prefixed("head", ref.norm_shapes("norm", HIDDEN, False))

    def loss_of(p, data):
        x = p["embedding.token.weight"][data["tokens"]]
        for layer in range(2):
            x = ref.llama_decoder(part(p, f"layers.{layer}"), x, HIDDEN // 4, 10000, 1e-5)
        return ref.llama_head(part(p, "head"), x, data["labels"], SEQUENCE * SAMPLES, 1e-5)

    return model, SEQUENCE * SAMPLES, *train(shapes, tokens_and_labels, loss_of)


def bert():
    model = {"layers": 2, "hidden": HIDDEN, "heads": 4, "sequence": SEQUENCE, "vocabulary": VOCABULARY, "tied": True}
    body, epsilon = ref.encoder_shapes(HIDDEN, 4 * HIDDEN), 1e-12
    shapes = {
        "embedding.token.weight": (VOCABULARY, HIDDEN),
        "embedding.position.weight": (SEQUENCE, HIDDEN),
        "embedding.segment.weight": (2, HIDDEN),
        "head.transform.weight": (HIDDEN, HIDDEN),
        "head.transform.bias": (HIDDEN,),
        "head.output.bias": (VOCABULARY,),
    }
    shapes |= prefixed("embedding", ref.norm_shapes("norm", HIDDEN, True))
    shapes |= prefixed("layers.0", body) | prefixed("layers.1", body)
    shapes |= prefixed("head", ref.norm_shapes("norm", HIDDEN, True))

    def loss_of(p, data):
        x = ref.bert_embedding(part(p, "embedding"), data["tokens"], epsilon)
        for layer in range(2):
            x = ref.bert_encoder(part(p, f"layers.{layer}"), x, HIDDEN // 4, epsilon)
        head = part(p, "head") | {"output.weight": p["embedding.token.weight"]}
        return ref.bert_head(head, x, data["labels"], SEQUENCE * SAMPLES, epsilon)

    return model, SEQUENCE * SAMPLES, *train(shapes, tokens_and_labels, loss_of)


def t5():
    m = {
        "layers": 2,
        "hidden": HIDDEN,
        "heads": 4,
        "headWidth": 4,
        "feedForward": 24,
        "sequence": SEQUENCE,
        "encoderSequence": 12,
        "vocabulary": VOCABULARY,
        "buckets": 8,
        "farthest": 10,
        "epsilon": 1e-6,
        "tied": True,
    }

    def attention(name):
        parts = {f"{name}.{x}.weight": (HIDDEN, HIDDEN) for x in ("query", "key", "value", "output")}
        return parts | ref.norm_shapes(f"{name}.norm", HIDDEN, False)

    fed = ref.feed_forward_shapes(HIDDEN, 24, False, False) | ref.norm_shapes("feedForward.norm", HIDDEN, False)
    encoder = attention("attention") | fed
    decoder = encoder | attention("crossAttention")
    norm = ref.norm_shapes("norm", HIDDEN, False)
    shapes = {
        "embedding.token.weight": (VOCABULARY, HIDDEN),
        "embedding.encoderBias.weight": (8, 4),
        "embedding.decoderBias.weight": (8, 4),
    }
    shapes |= prefixed("layers.0", encoder) | prefixed("layers.1", encoder | norm)
    shapes |= prefixed("layers.2", decoder) | prefixed("layers.3", decoder) | prefixed("head", norm)

    def batch(step):
        tokens = whole(step, "encoderTokens", (12, SAMPLES), VOCABULARY)
        own = tokens_and_labels(step)
        return {"tokens": tokens, "decoderTokens": own["tokens"], "labels": own["labels"]}

    def loss_of(p, data):
        table = p["embedding.token.weight"]
        x = table[data["tokens"]]
        for layer in range(2):
            x = t5_ref.encoder(part(p, f"layers.{layer}"), x, p["embedding.encoderBias.weight"], m, layer == 1)
        y = table[data["decoderTokens"]]
        for layer in (2, 3):
            y = t5_ref.decoder(part(p, f"layers.{layer}"), y, x, p["embedding.decoderBias.weight"], m)
        normed = ref.rms_norm(part(p, "head"), "norm", y, 1e-6) * HIDDEN**-0.5
        return ref.cross_entropy(normed @ table.T, data["labels"], SEQUENCE * SAMPLES)

    return m, SEQUENCE * SAMPLES, *train(shapes, batch, loss_of)


def images(step, patches, width, classes):
    """Pixels drawn by the number of the step, "pixels.STEP", which the other side draws too."""
    pixels = torch.tensor(normal(SEED, f"pixels.{step}", (patches, SAMPLES, width)))
    labels = whole(step, "classes", (1, SAMPLES), classes)
    return {"pixels": pixels, "labels": labels}


def vit():
    model = {"layers": 2, "hidden": HIDDEN, "heads": 4, "image": 6, "patch": 2, "channels": 2, "classes": 5, "padTo": 1}
    body, epsilon = ref.encoder_shapes(HIDDEN, 4 * HIDDEN), 1e-12
    shapes = {
        "embedding.patch.weight": (HIDDEN, 8),
        "embedding.patch.bias": (HIDDEN,),
        "embedding.class.weight": (HIDDEN,),
        "embedding.position.weight": (10, HIDDEN),
        "head.output.weight": (5, HIDDEN),
        "head.output.bias": (5,),
    }
    shapes |= prefixed("layers.0", body) | prefixed("layers.1", body)
    shapes |= prefixed("head", ref.norm_shapes("norm", HIDDEN, True))

    def loss_of(p, data):
        x = ref.vit_embedding(part(p, "embedding"), data["pixels"])
        for layer in range(2):
            x = ref.vit_encoder(part(p, f"layers.{layer}"), x, HIDDEN // 4, epsilon)
        return ref.vit_head(part(p, "head"), x, data["labels"], SAMPLES, epsilon)

    return model, SAMPLES, *train(shapes, lambda step: images(step, 9, 8, 5), loss_of)


def swin():
    model = {
        "depths": [2, 2],
        "hidden": 8,
        "heads": 2,
        "image": 12,
        "patch": 2,
        "channels": 2,
        "window": 3,
        "classes": 5,
        "padTo": 1,
    }
    epsilon = 1e-5
    blocks = [
        swin_ref.block_shapes("first", c, h, 3) | swin_ref.block_shapes("second", c, h, 3) for c, h in ((8, 2), (16, 4))
    ]
    shapes = {
        "embedding.patch.weight": (8, 8),
        "embedding.patch.bias": (8,),
        "layers.1.reduction.weight": (16, 32),
        "head.output.weight": (5, 16),
        "head.output.bias": (5,),
    }
    shapes |= prefixed("embedding", ref.norm_shapes("norm", 8, True))
    shapes |= prefixed("layers.0", blocks[0]) | prefixed("layers.1", ref.norm_shapes("norm", 32, True))
    shapes |= prefixed("layers.2", blocks[1]) | prefixed("head", ref.norm_shapes("norm", 16, True))

    def loss_of(p, data):
        x = swin_ref.embedding(part(p, "embedding"), data["pixels"], epsilon)
        x = swin_ref.pair(part(p, "layers.0"), x, 6, 3, 2, epsilon)
        x = swin_ref.merge(part(p, "layers.1"), x, 6, epsilon)
        x = swin_ref.pair(part(p, "layers.2"), x, 3, 3, 4, epsilon)
        return ref.cross_entropy(swin_ref.head(part(p, "head"), x, epsilon), data["labels"], SAMPLES)

    return model, SAMPLES, *train(shapes, lambda step: images(step, 36, 8, 5), loss_of)


def trainings():
    torch.set_num_threads(1)
    families = {}
    for make in (llama, bert, t5, vit, swin):
        model, loss_tokens, losses, data = make()
        families[make.__name__] = {"model": model, "lossTokens": loss_tokens, "losses": losses, "data": data}
    common = {"seed": SEED, "samples": SAMPLES, "standardDeviation": DEVIATION} | OPTIMIZER
    return common | {"families": families}


if __name__ == "__main__":
    write("family-training.json", trainings())
