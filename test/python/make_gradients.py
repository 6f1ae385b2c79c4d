"""Makes test/golden/graph/gpt-gradients.json and gpt-training.json: PyTorch's answers to small GPTs (CPU, float32)."""

import torch

import gpt_reference as gpt
from galvatron_random import normal, uniform
from golden_tensors import activation, gradients, ids, parameter, write

HIDDEN, HEADS, INNER, SEQUENCE, SAMPLES, VOCABULARY = 16, 4, 64, 8, 3, 19

TRAINING = {
    "model": {"layers": 4, "hidden": 32, "heads": 4, "sequence": 16, "vocabulary": 64, "tied": True},
    "seed": 1234,
    "globalBatch": 4,
    "steps": 20,
    "learningRate": 3e-3,
    "beta1": 0.9,
    "beta2": 0.95,
    "epsilon": 1e-8,
    "weightDecay": 0.1,
    "maxNorm": 1.0,
}


def layer_gradients():
    tokens_shape, hidden_shape = (SEQUENCE, SAMPLES), (SEQUENCE, SAMPLES, HIDDEN)
    upstream = {"hidden": activation("hidden.gradient", hidden_shape).detach()}
    loss_tokens = SEQUENCE * SAMPLES

    p = {
        "token.weight": parameter("token.weight", (VOCABULARY, HIDDEN)),
        "position.weight": parameter("position.weight", (SEQUENCE, HIDDEN)),
    }
    out = gpt.embedding(p, ids("tokens", tokens_shape, VOCABULARY))
    result = {"embedding": gradients({"hidden": out}, upstream, p)}

    p = {name: parameter(name, shape) for name, shape in gpt.decoder_shapes(HIDDEN, INNER).items()}
    x = activation("input", hidden_shape)
    result["decoder"] = gradients({"hidden": gpt.decoder(p, x, HEADS)}, upstream, {"input": x, **p})

    p = {
        "norm.weight": parameter("norm.weight", (HIDDEN,)),
        "norm.bias": parameter("norm.bias", (HIDDEN,)),
        "output.weight": parameter("output.weight", (VOCABULARY, HIDDEN)),
    }
    x = activation("input", hidden_shape)
    loss = gpt.head_loss(p, x, ids("labels", tokens_shape, VOCABULARY), loss_tokens)
    result["head"] = gradients({"loss": loss}, {}, {"input": x, **p})
    return {
        "model": {
            "layers": 2,
            "hidden": HIDDEN,
            "heads": HEADS,
            "sequence": SEQUENCE,
            "vocabulary": VOCABULARY,
            "tied": False,
        },
        "samples": SAMPLES,
        "lossTokens": loss_tokens,
        "layers": result,
    }


def training_parameters():
    m, seed = TRAINING["model"], TRAINING["seed"]
    hidden, inner = m["hidden"], 4 * m["hidden"]
    residual = 0.02 / (2 * m["layers"]) ** 0.5
    shapes = {
        "embedding.token.weight": (m["vocabulary"], hidden),
        "embedding.position.weight": (m["sequence"], hidden),
        "head.norm.weight": (hidden,),
        "head.norm.bias": (hidden,),
    }
    for layer in range(m["layers"]):
        for name, shape in gpt.decoder_shapes(hidden, inner).items():
            shapes[f"layers.{layer}.{name}"] = shape
    parameters = {}
    for name, shape in shapes.items():
        if name.endswith(".bias"):
            value = torch.zeros(shape)
        elif name.endswith("norm.weight"):
            value = torch.ones(shape)
        else:
            deviation = residual if name.endswith(("attention.output.weight", "down.weight")) else 0.02
            value = torch.tensor(normal(seed, name, shape, deviation))
        parameters[name] = value.requires_grad_()
    return parameters


def part(parameters, prefix):
    return {name[len(prefix) :]: p for name, p in parameters.items() if name.startswith(prefix)}


def batches():
    """[step][sample][sequence + 1] token numbers; labels are the tokens that follow."""
    m = TRAINING["model"]
    shape = (TRAINING["steps"], TRAINING["globalBatch"], m["sequence"] + 1)
    count = shape[0] * shape[1] * shape[2]
    u = torch.tensor(uniform(TRAINING["seed"], "data", 0, count)).reshape(shape)
    # Squares of uniform numbers: some tokens are frequent, so that there is something to learn.
    return (u * u * m["vocabulary"]).floor().long()


def training():
    m = TRAINING["model"]
    parameters = training_parameters()
    decayed = [p for p in parameters.values() if p.dim() > 1]
    others = [p for p in parameters.values() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": TRAINING["weightDecay"]}, {"params": others, "weight_decay": 0.0}],
        lr=TRAINING["learningRate"],
        betas=(TRAINING["beta1"], TRAINING["beta2"]),
        eps=TRAINING["epsilon"],
    )
    data = batches()
    losses, norms = [], []
    for step in range(TRAINING["steps"]):
        tokens, labels = data[step, :, :-1].T, data[step, :, 1:].T
        x = gpt.embedding(part(parameters, "embedding."), tokens)
        for layer in range(m["layers"]):
            x = gpt.decoder(part(parameters, f"layers.{layer}."), x, m["heads"])
        head = part(parameters, "head.") | {"output.weight": parameters["embedding.token.weight"]}
        loss = gpt.head_loss(head, x, labels, labels.numel())
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters.values(), TRAINING["maxNorm"]).item())
        optimizer.step()
        losses.append(loss.item())
    return {**TRAINING, "tokens": data.tolist(), "losses": losses, "gradientNorms": norms}


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    write("gpt-gradients.json", layer_gradients())
    training_result = training()
    write("gpt-training.json", training_result)


if __name__ == "__main__":
    main()
