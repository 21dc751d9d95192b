"""Intermediate tasks on text: an encoder is trained on them before it is fine-tuned on a target."""

from xmit.tasks.intermediate.anli_plus import ANLIPlus
from xmit.tasks.intermediate.ccg import CCG
from xmit.tasks.intermediate.masked_lm import MaskedLM
from xmit.tasks.intermediate.mnli import MNLI
from xmit.tasks.intermediate.qqp import QQP
from xmit.tasks.intermediate.snli import SNLI

__all__ = ["CCG", "MNLI", "QQP", "SNLI", "ANLIPlus", "MaskedLM"]
