"""SNLI-VE."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.registry import register_task
from xmit.tasks.classification import SequenceClassificationTask
from xmit.tasks.image_text.sources import SNLI_VE_HUB, SNLI_VE_ROWS, snli_ve
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.nli import LABELS
from xmit.tasks.with_images import WithImages


class VisualEntailmentTask(WithImages, SequenceClassificationTask):
    """Whether a photograph entails a hypothesis, contradicts it or neither; trained on SNLI-VE, in English.

    The labels are in the order of :data:`xmit.tasks.nli.LABELS`, which is not VOLTA's.
    """

    label_names: ClassVar[tuple[str, ...]] = LABELS
    text_columns: ClassVar[tuple[str, ...]] = ("hypothesis",)


@register_task
class SNLIVE(VisualEntailmentTask):
    """Visual entailment: SNLI with the photograph in place of the premise that describes it.

    With ``data_dir``: ``snli_ve_train.jsonl``, ``snli_ve_dev.jsonl``, ``snli_ve_test.jsonl`` and Flickr30k's images in
    ``flickr30k-images/``, or in ``image_dir``. From the hub with its images; the card says they are shuffled, not how,
    and its columns are as others load them: no hub could be asked.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="snli_ve",
        roles=("intermediate", "image-text"),
        languages=("en",),
        main_score="accuracy",
        dataset=SNLI_VE_HUB,
        license="BSD 3-Clause (annotations); text CC BY-SA 4.0; images for non-commercial research",
        citation="Xie et al. 2019, Visual Entailment: A Novel Task for Fine-Grained Image Understanding, 1901.06706",
        description="does a photograph entail a sentence (3 classes)",
        overlaps=("snli", "anli_plus", "xvnli", "flickr30k_itm", "image_mlm", "xflickrco"),
        sizes=SNLI_VE_ROWS,
    )

    def load_split(self, split: str, language: str) -> Any:
        """Load one split."""
        return snli_ve(self, split, language)
