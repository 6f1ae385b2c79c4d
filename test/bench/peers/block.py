"""Forward and backward of one block in PyTorch, eager or compiled, parameters in bfloat16."""
import torch

from models import Block, Config, rotary_tables


def block_step(family, batch, sequence, hidden, heads, feed_forward, compiled):
    """A call that runs forward and backward once."""
    with torch.device("cuda"):
        block = Block(Config(family, hidden, 1, heads, feed_forward, 0, sequence)).to(torch.bfloat16)
    run = torch.compile(block) if compiled else block
    tables = rotary_tables(sequence, hidden // heads, torch.bfloat16) if family == "llama" else (None, None)
    x = torch.randn(batch, sequence, hidden, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    dy = torch.randn_like(x)

    def step():
        for p in block.parameters():
            p.grad = None
        x.grad = None
        run(x, *tables).backward(dy)

    return step
