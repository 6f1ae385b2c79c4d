"""Gradients of transformers' T5 in bfloat16 beside its float32 ones, with ReLU and with a gated GELU; same weights.

  .venv/bin/python test/bench/peers/t5_bfloat16.py

Prints the largest difference over the tensor's largest gradient, in the worst tensor (the measure of `galvatron verify`).
"""
import copy

import torch
from transformers import T5Config, T5ForConditionalGeneration

VOCABULARY, SAMPLES, ENCODED, DECODED = 61, 8, 16, 8


def gradients(model, data):
    encoded, decoded, labels = data
    model.zero_grad()
    logits = model(input_ids=encoded, decoder_input_ids=decoded).logits.float()
    torch.nn.functional.cross_entropy(logits.reshape(-1, VOCABULARY), labels.reshape(-1)).backward()
    return {name: parameter.grad.float() for name, parameter in model.named_parameters()}


def worst(own, other):
    return max((float((own[name] - other[name]).abs().max() / own[name].abs().max()), name) for name in own)


torch.set_num_threads(1)
for seed in range(5):
    for activation in ("relu", "gated-gelu"):
        torch.manual_seed(seed)
        config = T5Config(
            vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=128, num_layers=2, num_decoder_layers=2, num_heads=4,
            feed_forward_proj=activation, dropout_rate=0.0, decoder_start_token_id=0, pad_token_id=VOCABULARY - 1,
        )
        model = T5ForConditionalGeneration(config)
        data = [torch.randint(0, VOCABULARY - 1, (SAMPLES, length)) for length in (ENCODED, DECODED, DECODED)]
        exact = gradients(model, data)
        apart, name = worst(exact, gradients(copy.deepcopy(model).bfloat16(), data))
        print(f"seed {seed}, {activation}: {apart:.2e} in {name}")
