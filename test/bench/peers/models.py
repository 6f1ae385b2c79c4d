"""The peers' models, plain PyTorch as a careful user writes it: pre-norm GPT and LLaMA, batch first, SDPA."""
import torch
import torch.nn as nn
import torch.nn.functional as F


class Config:
    def __init__(self, family, hidden, layers, heads, feed_forward, vocabulary, sequence, tied=False):
        self.family, self.hidden, self.layers, self.heads = family, hidden, layers, heads
        self.feed_forward, self.vocabulary, self.sequence, self.tied = feed_forward, vocabulary, sequence, tied


GPT2_124M = Config("gpt", 768, 12, 12, 3072, 50304, 1024, tied=True)
GPT_1_4B = Config("gpt", 2048, 24, 16, 8192, 50304, 2048)
LLAMA_6_7B = Config("llama", 4096, 32, 32, 11008, 32000, 2048)


def rotary_tables(sequence, size, dtype, device="cuda"):
    frequency = 10000.0 ** (-torch.arange(0, size, 2, device=device).float() / size)
    angle = torch.outer(torch.arange(sequence, device=device).float(), frequency)
    return torch.cat([angle.cos()] * 2, -1).to(dtype), torch.cat([angle.sin()] * 2, -1).to(dtype)


def rotate(x, cosine, sine):
    first, second = x.chunk(2, -1)
    return x * cosine + torch.cat([-second, first], -1) * sine


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        gpt = c.family == "gpt"
        norm = (lambda: nn.LayerNorm(c.hidden)) if gpt else (lambda: nn.RMSNorm(c.hidden, eps=1e-5))
        self.norm1, self.norm2 = norm(), norm()
        self.qkv = nn.Linear(c.hidden, 3 * c.hidden, bias=gpt)
        self.output = nn.Linear(c.hidden, c.hidden, bias=gpt)
        self.up = nn.Linear(c.hidden, c.feed_forward * (1 if gpt else 2), bias=gpt)
        self.down = nn.Linear(c.feed_forward, c.hidden, bias=gpt)

    def forward(self, x, cosine=None, sine=None):
        c = self.c
        b, s, h = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, s, 3, c.heads, h // c.heads).permute(2, 0, 3, 1, 4)
        if c.family == "llama":
            q, k = rotate(q, cosine, sine), rotate(k, cosine, sine)
        context = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.output(context.transpose(1, 2).reshape(b, s, h))
        inner = self.up(self.norm2(x))
        if c.family == "gpt":
            inner = F.gelu(inner, approximate="tanh")
        else:
            gate, up = inner.chunk(2, -1)
            inner = F.silu(gate) * up
        return x + self.down(inner)


class LanguageModel(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.token = nn.Embedding(c.vocabulary, c.hidden)
        self.position = nn.Embedding(c.sequence, c.hidden) if c.family == "gpt" else None
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.norm = nn.LayerNorm(c.hidden) if c.family == "gpt" else nn.RMSNorm(c.hidden, eps=1e-5)
        self.head = nn.Linear(c.hidden, c.vocabulary, bias=False)
        if c.tied:
            self.head.weight = self.token.weight
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, tokens, labels, cosine=None, sine=None):
        x = self.token(tokens)
        if self.position is not None:
            x = x + self.position.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x, cosine, sine)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1).float(), labels.flatten())


def step_flops_per_token(c, parameters):
    """6 (parameters without the embedding) + 6 layers hidden sequence: causal attention counted by half."""
    embedding = 0 if c.tied else c.vocabulary * c.hidden
    return 6 * (parameters - embedding) + 6 * c.layers * c.hidden * c.sequence
