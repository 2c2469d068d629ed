"""Training steps of PyTorch, for `benchmarks.train_step`; runs under an interpreter that has PyTorch and not ours.

The loss and the optimizer are those that arcface_torch trains with, and that `trainer_module` has by default; memory
lies as channels_last.
"""

import math
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks import step_process
from benchmarks.onnx_from_pytorch import network

SCALE, MARGIN, DECAY, RATE, MOMENTUM = 64.0, 0.5, 5e-4, 0.1, 0.9
DIM = 512


def arcface(embeddings: Any, centres: Any, index: Any) -> tuple[Any, Any]:
    """The mean loss over all classes, and the share of images whose nearest centre is their own."""
    normalize = torch.nn.functional.normalize
    cosines = torch.nn.functional.linear(normalize(embeddings), normalize(centres)).clamp(-1, 1)
    rows = torch.arange(len(index))
    target = cosines[rows, index]
    moved = target * math.cos(MARGIN) - torch.sqrt((1 - target * target).clamp_min(1e-12)) * math.sin(MARGIN)
    moved = torch.where(target > math.cos(math.pi - MARGIN), moved, target - MARGIN * math.sin(math.pi - MARGIN))
    hits = (cosines.detach().argmax(1) == index).float().mean()
    return torch.nn.functional.cross_entropy(SCALE * cosines.index_put((rows, index), moved), index), hits


def pooled() -> Any:
    """What `benchmarks.train_step.pooled` is: hardly a network."""
    return torch.nn.Sequential(torch.nn.AvgPool2d(8), torch.nn.Flatten(), torch.nn.Linear(588, DIM))


def steps(backbone: str, batch: int, classes: int) -> Callable[[], None]:
    """A step, from uint8 pixels to new weights, with the full head, as a call."""
    torch.set_num_threads(os.cpu_count() or 1)
    model = network(torch) if backbone == "iresnet50" else pooled()
    model = model.to(memory_format=torch.channels_last).train()
    centres = torch.nn.Parameter(torch.randn(classes, DIM) * 0.01)
    parameters = [*model.parameters(), centres]
    kernels, others = ([p for p in parameters if (p.dim() > 1) == many] for many in (True, False))
    groups = [{"params": kernels, "weight_decay": DECAY}, {"params": others}]
    optimizer = torch.optim.SGD(groups, lr=RATE, momentum=MOMENTUM)
    random = np.random.default_rng(1)
    pixels = torch.from_numpy(random.integers(0, 256, (batch, 112, 112, 3), dtype=np.uint8))
    index = torch.from_numpy(random.integers(0, classes, batch, dtype=np.int64))

    def step() -> None:
        loss, hits = arcface(model((pixels.permute(0, 3, 1, 2).float() - 127.5) / 128), centres, index)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters])
        optimizer.step()
        _ = loss.item(), hits.item(), norm.item()

    return step


if __name__ == "__main__":
    step_process.serve(steps(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
