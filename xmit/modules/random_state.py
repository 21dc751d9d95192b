"""The state of the random generators, so that a run that is resumed goes on as if it had not been interrupted."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def random_state(device: torch.device) -> list[dict[str, Any]]:
    """The generators of every process, in order of rank, as tensors and plain values (for ``weights_only``).

    Args:
        device: The device that this process computes on, whose generator is its own where it is a GPU.
    """
    kind, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 (a user's transforms may use it)
    version, state, following = random.getstate()
    mine = {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "numpy": [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss],
        "python": [version, torch.tensor(state, dtype=torch.int64), following],
    }
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [mine]
    states: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(states, mine)
    return states


def restore_random_state(states: list[dict[str, Any]], device: torch.device) -> None:
    """Set the generators of this process as :func:`random_state` found them.

    Args:
        states: Of all processes.
        device: The device that this process computes on.
    """
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    state = states[(torch.distributed.get_rank() if distributed else 0) % len(states)]
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, words, following = state["python"]
    random.setstate((version, tuple(words.tolist()), following))
