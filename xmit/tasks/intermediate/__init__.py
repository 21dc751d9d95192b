"""Intermediate tasks: what an encoder is trained on before its target."""

from xmit.tasks.intermediate.commonsense_qa import CommonsenseQA
from xmit.tasks.intermediate.copa import COPA
from xmit.tasks.intermediate.cosmos_qa import CosmosQA
from xmit.tasks.intermediate.hellaswag import HellaSwag
from xmit.tasks.intermediate.social_iqa import SocialIQA
from xmit.tasks.intermediate.squad import SQuAD
from xmit.tasks.intermediate.squad_v2 import SQuADv2

__all__ = [
    "COPA",
    "CommonsenseQA",
    "CosmosQA",
    "HellaSwag",
    "SQuAD",
    "SQuADv2",
    "SocialIQA",
]
