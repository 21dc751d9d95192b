"""What an update costs the host: kernels launched, waits and uploads, by family, counted on the simulated device.

    python tests/cuda/launches.py            # every family, two layers
    python tests/cuda/launches.py --large    # 24 layers, as XLM-R large has

Layers are narrow, since counts do not depend on values, and hardly on widths: a multi-tensor kernel takes 21 million
elements at a launch, so that XLM-R large's own widths add 23. They are of the second update, in bf16, with
clipping and dropout, the first being also about caches.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does

import torch
from cuda.device import Device
from families import FUSIONS, IMAGES, TEXT
from running import build, run, task_of
from transformers import XLMRobertaConfig, XLMRobertaModel

from xmit.modules.encoders import load_tokenizer
from xmit.progress import quiet_libraries

UPDATE = "update 1"


def encoder(folder: str, layers: int = 2) -> str:
    """A random encoder with the real tokenizer."""
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=250002, hidden_size=16, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5,
        pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    load_tokenizer("embedded:e5-small").save_pretrained(folder)
    return folder


def count(source: str, kind: object, device: Device, **more: object) -> tuple[int, int, int]:
    """Launches, host waits and uploads from pageable memory of an update."""
    with tempfile.TemporaryDirectory() as folder:
        done = run(build(source, dropout=0.1, **more), task_of(kind), folder, device, ("fit",), precision="bf16-mixed",
                   limit_val_batches=0)  # fmt: skip
    assert len(done.losses) == 3, "it does not train"
    waits = sum(wait.phase == UPDATE for wait in device.waits)
    return device.launched(UPDATE), waits, sum(not u.pinned for u in device.uploads if u.phase == UPDATE)


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="24 layers, one family")
    parser.add_argument("--top", type=int, default=0, help="show the most frequent kernels of each case")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    quiet_libraries()
    kernels = {"flash-attn": {"flash_attn": True}, "groups": {"flash_attn": False}}
    print("| case | attention | launches | host waits | pageable uploads |\n|---|---|--:|--:|--:|")  # noqa: T201
    with tempfile.TemporaryDirectory() as folder:
        if arguments.large:
            source, cases = encoder(folder, 24), {"classification": (TEXT["classification"], {})}
        else:
            source, cases = encoder(folder), {name: (kind, {}) for name, kind in TEXT.items() if kind().trains}
            for name, kind in IMAGES.items():
                for fusion, settings in FUSIONS.items():
                    cases[f"{name}, {fusion}"] = (kind, {"vision": folder, "fusion": settings})
        for name, (kind, more) in cases.items():
            for kernel, options in kernels.items():
                device = Device(**options)
                counts = count(source, kind, device, **more)
                print(f"| {name} | {kernel} | {' | '.join(map(str, counts))} |", flush=True)  # noqa: T201
                own = Counter({op: n for (phase, op), n in device.launches.items() if phase == UPDATE})
                for op, n in own.most_common(arguments.top):
                    print(f"    {n:5} {op}")  # noqa: T201


if __name__ == "__main__":
    main()
