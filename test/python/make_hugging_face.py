"""Makes test/golden/hugging-face/NAME.json: what Hugging Face's own models (CPU, float32) answer to our random weights."""

import json
import pathlib
import sys
import tempfile

import torch
import transformers

import hugging_face_models as models
from golden_tensors import pack, write

STEPS = 20
OPTIMIZER = {
    "learningRate": 3e-3,
    "beta1": 0.9,
    "beta2": 0.95,
    "epsilon": 1e-8,
    "weightDecay": 0.1,
    "maxNorm": 1.0,
}


def listed(tensor):
    return {"shape": list(tensor.shape), "values": tensor.reshape(-1).tolist()}


def border_states(name, model, given):
    """Outputs of all layers, sequence first, and the loss, which is ready for `backward`."""
    states, hooks = [], []
    for module in models.layer_modules(name, model):

        def keep(_module, _inputs, output, at=len(hooks)):
            tensor = output[0] if isinstance(output, tuple) else output
            states.append((at, pack(tensor.transpose(0, 1))))

        hooks.append(module.register_forward_hook(keep))
    loss = models.loss_of(name, model, given)
    for hook in hooks:
        hook.remove()
    # T5 runs one embedding module for both of its streams: the first call is the encoder's.
    return [next(state for place, state in states if place == at) for at in range(len(hooks))], loss


def saved_gradients(model):
    """Gradients under the names and in the layout that `save_pretrained` gives the weights."""
    values = {key: value.detach().clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.grad)
    packed = {key: pack(value) for key, value in models.saved_tensors(model).items()}
    model.load_state_dict(values)
    return packed


def optimizer_of(model):
    parameters = list(model.parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": OPTIMIZER["weightDecay"]},
            {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
        ],
        lr=OPTIMIZER["learningRate"],
        betas=(OPTIMIZER["beta1"], OPTIMIZER["beta2"]),
        eps=OPTIMIZER["epsilon"],
    )


def answers(name):
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        tensors = models.write_random_model(name, folder)
        config = json.loads((pathlib.Path(folder) / "config.json").read_text())
        model = models.load(name, folder)
    optimizer = optimizer_of(model)
    result = {"losses": [], "gradientNorms": [], "data": []}
    for step in range(STEPS):
        given, data = models.batch(name, step)
        states, loss = border_states(name, model, given)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            result |= {"states": states, "gradients": saved_gradients(model)}
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIMIZER["maxNorm"])
        optimizer.step()
        result["losses"].append(loss.item())
        result["gradientNorms"].append(norm.item())
        result["data"].append({key: listed(value) for key, value in data.items()})
    return result | {
        "config": config,
        "seed": models.SEED,
        "deviation": models.DEVIATION,
        "samples": models.SAMPLES,
        "shapes": {key: list(value.shape) for key, value in tensors.items()},
        "optimizer": OPTIMIZER,
    }


def main():
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for name in sys.argv[1:] or models.CLASSES:
        write(name, answers(name))


if __name__ == "__main__":
    main()
