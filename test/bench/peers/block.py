"""PyTorch's time for forward and backward of one block, eager and compiled, parameters in bfloat16."""
import torch

from models import Block, Config, rotary_tables


def make_block(family, hidden, heads, feed_forward, sequence):
    with torch.device("cuda"):
        block = Block(Config(family, hidden, 1, heads, feed_forward, 0, sequence)).to(torch.bfloat16)
    return block


def time_block(time_ms, family, batch, sequence, hidden, heads, feed_forward, compiled):
    block = make_block(family, hidden, heads, feed_forward, sequence)
    run = torch.compile(block) if compiled else block
    tables = rotary_tables(sequence, hidden // heads, torch.bfloat16) if family == "llama" else (None, None)
    x = torch.randn(batch, sequence, hidden, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    dy = torch.randn_like(x)

    def step():
        for p in block.parameters():
            p.grad = None
        x.grad = None
        run(x, *tables).backward(dy)

    return {"both_ms": time_ms(step)}
