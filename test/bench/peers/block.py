"""PyTorch's time for forward and backward of one block, eager and compiled, parameters in bfloat16."""
import torch

from kernel_shares import step_breakdown
from models import Block, Config, rotary_tables


def make_block(family, hidden, heads, feed_forward, sequence):
    with torch.device("cuda"):
        block = Block(Config(family, hidden, 1, heads, feed_forward, 0, sequence)).to(torch.bfloat16)
    return block


def time_block(time_ms, family, batch, sequence, hidden, heads, feed_forward, compiled, breakdown=False):
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

    result = {"both_ms": time_ms(step)}
    if breakdown:
        try:
            result["breakdown"] = step_breakdown(step, 4)
        except Exception as error:  # the time stands without it
            result["breakdown_error"] = str(error)[:300]
    return result
