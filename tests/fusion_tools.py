"""What tests of fusions share: their settings, and a module with one on a tiny encoder."""

from __future__ import annotations

import torch

from xmit import MultimodalModule
from xmit.modules.fusion import FusionConfig, build_fusion

TEXTS = ["Habari ya asubuhi", "good", "ein etwas längerer Satz mit vielen Wörtern"]
WIDTH, TOKENS = 6, 5
EXACT = [  # those whose first step is that of the text alone
    {"kind": "cross_attention"},
    {"kind": "cross_attention", "tokens": 2, "every": 1},
    {"kind": "late"},
]
ALL = [{"kind": "prefix"}, {"kind": "prefix", "tokens": 2}, *EXACT]


def name_of(settings):
    return "-".join(str(value) for value in settings.values())


def build(encoder, settings):
    torch.manual_seed(1)
    module = MultimodalModule(encoder=encoder).eval()
    module._build_encoder()
    module.text_encoder.eval()
    module.fusion = build_fusion(FusionConfig(**settings), WIDTH, TOKENS, module.text_encoder).eval()
    return module


def opened(module):
    """Open what starts closed, as training does."""
    with torch.no_grad():
        for name, parameter in module.fusion.named_parameters():
            if name.endswith("gates") or name.startswith("output"):
                parameter.normal_()
    return module
