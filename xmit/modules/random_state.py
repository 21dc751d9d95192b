"""The state of the random generators, so that a run that is resumed goes on as if it had not been interrupted."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def random_state() -> list[dict[str, Any]]:
    """The generators of every process, in order of rank, as tensors and plain values (for ``weights_only``)."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 (a user's transforms may use it)
    version, state, following = random.getstate()
    mine = {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "numpy": [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss],
        "python": [version, torch.tensor(state, dtype=torch.int64), following],
    }
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [mine]
    states: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(states, mine)
    return states


def restore_random_state(states: list[dict[str, Any]]) -> None:
    """Set the generators of this process as :func:`random_state` found them."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    state = states[(torch.distributed.get_rank() if distributed else 0) % len(states)]
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, words, following = state["python"]
    random.setstate((version, tuple(words.tolist()), following))
