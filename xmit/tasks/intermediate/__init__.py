"""Intermediate tasks on text: what an encoder is trained on before the target."""

from xmit.tasks.intermediate.masked_lm import MaskedLM

__all__ = ["MaskedLM"]
