"""Tiny models of Hugging Face's own classes, with random weights by our rule and batches in our layout."""

import json
import pathlib
import tempfile

import numpy as np
import torch
import transformers as hf
from safetensors import safe_open
from safetensors.torch import save_file

from galvatron_random import normal, uniform

SEED, DEVIATION, SAMPLES = 77, 0.2, 4

# Odd sizes on purpose: vocabularies that no tensor group divides, more positions than tokens, heads wider than their share.
CONFIGURATIONS = {
    "bert": hf.BertConfig(
        vocab_size=19,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=12,
        # Its row would get no gradient from lookups, and our batches have no padding.
        pad_token_id=None,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    ),
    "gpt2": hf.GPT2Config(
        vocab_size=19,
        n_embd=16,
        n_layer=2,
        n_head=4,
        n_inner=24,
        n_positions=12,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    ),
    "llama": hf.LlamaConfig(
        vocab_size=19,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=6,
        intermediate_size=20,
        max_position_embeddings=12,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
    ),
    "qwen2": hf.Qwen2Config(
        vocab_size=19,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=20,
        max_position_embeddings=12,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0},
    ),
    "t5": hf.T5Config(
        vocab_size=19,
        d_model=16,
        d_kv=6,
        d_ff=24,
        num_layers=2,
        num_heads=4,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=10,
        dropout_rate=0.0,
    ),
    "t5-gated": hf.T5Config(
        vocab_size=19,
        d_model=16,
        d_kv=4,
        d_ff=20,
        num_layers=2,
        num_heads=4,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=10,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    ),
    "vit": hf.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        image_size=6,
        patch_size=2,
        num_channels=2,
        num_labels=5,
    ),
    "swin": hf.SwinConfig(
        embed_dim=8,
        depths=[2, 2],
        num_heads=[2, 4],
        image_size=12,
        patch_size=2,
        num_channels=2,
        window_size=3,
        num_labels=5,
        mlp_ratio=4.0,
        drop_path_rate=0.0,
        layer_norm_eps=1e-6,
    ),
    "gpt_neox": hf.GPTNeoXConfig(
        vocab_size=19,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=12,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.5},
    ),
}

CLASSES = {
    "bert": hf.BertForMaskedLM,
    "gpt2": hf.GPT2LMHeadModel,
    "llama": hf.LlamaForCausalLM,
    "qwen2": hf.Qwen2ForCausalLM,
    "t5": hf.T5ForConditionalGeneration,
    "t5-gated": hf.T5ForConditionalGeneration,
    "vit": hf.ViTForImageClassification,
    "swin": hf.SwinForImageClassification,
    "gpt_neox": hf.GPTNeoXForCausalLM,
}

SEQUENCE, ENCODER_SEQUENCE = 8, 12


def saved_tensors(model):
    """What `save_pretrained` writes, by the names that it writes."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        with safe_open(f"{folder}/model.safetensors", "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}


def random_tensor(name, shape):
    """Our rule for the random tensor of a name: scales of norms (vectors called "weight") around 1, all else around 0."""
    noise = normal(SEED, name, shape, DEVIATION)
    if len(shape) == 1 and name.endswith(".weight"):
        noise = (1 + noise.astype(np.float64)).astype(np.float32)
    return torch.tensor(noise)


def write_random_model(name, folder):
    """A folder as `save_pretrained` makes one, with the random weights of our rule. Returns its tensors."""
    folder = pathlib.Path(folder)
    config = CONFIGURATIONS[name]
    torch.manual_seed(0)
    fresh = saved_tensors(CLASSES[name](config))
    if name == "t5-gated":
        # Version 1.1 has a head of its own.
        fresh["lm_head.weight"] = fresh["shared.weight"]
    tensors = {key: random_tensor(key, tuple(value.shape)) for key, value in fresh.items()}
    folder.mkdir(parents=True, exist_ok=True)
    config.architectures = [CLASSES[name].__name__]
    config.save_pretrained(folder)
    if name == "t5-gated":
        content = json.loads((folder / "config.json").read_text()) | {"tie_word_embeddings": False}
        (folder / "config.json").write_text(json.dumps(content))
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return tensors


def load(name, folder):
    model = CLASSES[name].from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    return model.train()


def whole_numbers(step, name, shape, limit):
    """Below the limit, small ones more often, so that there is something to learn."""
    count = int(np.prod(shape))
    u = uniform(SEED, name, step * count, count)
    return torch.tensor((u * u * limit).astype(np.int64)).reshape(shape)


def batch(name, step):
    """Arguments of the model, and loader data in our layout, sequence first."""
    config = CONFIGURATIONS[name]
    if name in ("vit", "swin"):
        size = (SAMPLES, config.num_channels, config.image_size, config.image_size)
        labels = whole_numbers(step, "labels", (SAMPLES,), config.num_labels)
        pixels = torch.tensor(normal(SEED, f"pixels.{step}", size))
        return {"pixel_values": pixels, "labels": labels}, {"labels": labels[None, :]}
    shape = (SAMPLES, SEQUENCE)
    tokens = whole_numbers(step, "tokens", shape, config.vocab_size)
    labels = whole_numbers(step, "labels", shape, config.vocab_size)
    labels[0, step % SEQUENCE] = -100
    if name.startswith("t5"):
        source = whole_numbers(step, "encoderTokens", (SAMPLES, ENCODER_SEQUENCE), config.vocab_size)
        given = {"input_ids": source, "decoder_input_ids": tokens, "labels": labels}
        return given, {"tokens": source.T, "decoderTokens": tokens.T, "labels": labels.T}
    return {"input_ids": tokens, "labels": labels}, {"tokens": tokens.T, "labels": labels.T}


def loss_of(name, model, given):
    """Mean cross entropy over the labels that count. Labels here belong to their own positions: causal models are not to shift them."""
    labels = given["labels"]
    rest = {key: value for key, value in given.items() if key != "labels"}
    logits = model(**rest).logits
    return torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1), ignore_index=-100)


def layer_modules(name, model):
    """The modules whose outputs are the borders of our layers: embedding, then every layer in order."""
    if name == "bert":
        return [model.bert.embeddings, *model.bert.encoder.layer]
    if name == "gpt2":
        return [model.transformer.drop, *model.transformer.h]
    if name in ("llama", "qwen2"):
        return [model.model.embed_tokens, *model.model.layers]
    if name == "gpt_neox":
        return [model.gpt_neox.embed_in, *model.gpt_neox.layers]
    if name.startswith("t5"):
        encoder = [*list(model.encoder.block)[:-1], model.encoder.final_layer_norm]
        return [model.encoder.dropout, *encoder, *model.decoder.block]
    if name == "vit":
        return [model.vit.embeddings, *model.vit.layers]
    stages = model.swin.encoder.layers
    result = [model.swin.embeddings]
    for stage in stages:
        result += [block for index, block in enumerate(stage.blocks) if index % 2 == 1]
        if stage.downsample is not None:
            result.append(stage.downsample)
    return result
