"""Intermediate tasks on text: an encoder is trained on them before it is fine-tuned on a target."""

from xmit.tasks.intermediate.anli_plus import ANLIPlus
from xmit.tasks.intermediate.ccg import CCG
from xmit.tasks.intermediate.commonsense_qa import CommonsenseQA
from xmit.tasks.intermediate.copa import COPA
from xmit.tasks.intermediate.cosmos_qa import CosmosQA
from xmit.tasks.intermediate.hellaswag import HellaSwag
from xmit.tasks.intermediate.masked_lm import MaskedLM
from xmit.tasks.intermediate.mnli import MNLI
from xmit.tasks.intermediate.qqp import QQP
from xmit.tasks.intermediate.snli import SNLI
from xmit.tasks.intermediate.social_iqa import SocialIQA
from xmit.tasks.intermediate.squad import SQuAD
from xmit.tasks.intermediate.squad_v2 import SQuADv2

__all__ = [
    "CCG",
    "COPA",
    "MNLI",
    "QQP",
    "SNLI",
    "ANLIPlus",
    "CommonsenseQA",
    "CosmosQA",
    "HellaSwag",
    "MaskedLM",
    "SQuAD",
    "SQuADv2",
    "SocialIQA",
]
