"""Target tasks: trained on English, scored zero-shot in every language."""

from xmit.tasks.target.afri_xnli import AfriXNLI
from xmit.tasks.target.americas_nli import AmericasNLI
from xmit.tasks.target.belebele import Belebele
from xmit.tasks.target.bucc2018 import BUCC2018
from xmit.tasks.target.emoji_names import EmojiNames
from xmit.tasks.target.lareqa import LAReQA
from xmit.tasks.target.marvl import MaRVL
from xmit.tasks.target.masakhaner2 import MasakhaNER2
from xmit.tasks.target.mewslix import MewsliX
from xmit.tasks.target.mlqa import MLQA
from xmit.tasks.target.nusax import NusaX
from xmit.tasks.target.panx import PanX
from xmit.tasks.target.pawsx import PAWSX
from xmit.tasks.target.sib200 import SIB200
from xmit.tasks.target.tatoeba import Tatoeba
from xmit.tasks.target.tydiqa import TyDiQA
from xmit.tasks.target.udpos import UDPOS
from xmit.tasks.target.xcopa import XCOPA
from xmit.tasks.target.xflickrco import XFlickrCO
from xmit.tasks.target.xgqa import XGQA
from xmit.tasks.target.xm3600 import XM3600
from xmit.tasks.target.xnli import XNLI
from xmit.tasks.target.xquad import XQuAD
from xmit.tasks.target.xstory_cloze import XStoryCloze
from xmit.tasks.target.xvnli import XVNLI

__all__ = [
    "BUCC2018",
    "MLQA",
    "PAWSX",
    "SIB200",
    "UDPOS",
    "XCOPA",
    "XGQA",
    "XM3600",
    "XNLI",
    "XVNLI",
    "AfriXNLI",
    "AmericasNLI",
    "Belebele",
    "EmojiNames",
    "LAReQA",
    "MaRVL",
    "MasakhaNER2",
    "MewsliX",
    "NusaX",
    "PanX",
    "Tatoeba",
    "TyDiQA",
    "XFlickrCO",
    "XQuAD",
    "XStoryCloze",
]
