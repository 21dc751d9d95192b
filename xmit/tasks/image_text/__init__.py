"""Intermediate tasks on images and text: the encoder learns from both and leaves without the images."""

from xmit.tasks.image_text.emoji import Emoji, EmojiITM
from xmit.tasks.image_text.gqa import GQA
from xmit.tasks.image_text.image_mlm import ImageMLM
from xmit.tasks.image_text.itm import CocoITM, Flickr30kITM
from xmit.tasks.image_text.nlvr import NLVR
from xmit.tasks.image_text.nlvr2 import NLVR2
from xmit.tasks.image_text.snli_ve import SNLIVE
from xmit.tasks.image_text.vqa_v2 import VQAv2

__all__ = ["GQA", "NLVR", "NLVR2", "SNLIVE", "CocoITM", "Emoji", "EmojiITM", "Flickr30kITM", "ImageMLM", "VQAv2"]
