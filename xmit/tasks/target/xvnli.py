"""XVNLI: visual entailment in five languages (IGLUE)."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.data.readers import read_jsonl
from xmit.data.sources import load_hub
from xmit.registry import register_task
from xmit.tasks.image_text.snli_ve import VisualEntailmentTask
from xmit.tasks.image_text.sources import FLICKR_IMAGES, SNLI_VE_ROWS, entailment_table, snli_ve
from xmit.tasks.metadata import TaskMetadata


@register_task
class XVNLI(VisualEntailmentTask):
    """Does a photograph entail a sentence, in five languages: 1,164 pairs each, 14 of them without a label.

    Trained and validated on SNLI-VE. With ``data_dir``: IGLUE's ``XVNLI/annotations/{language}/test.jsonl``, SNLI-VE's
    files and Flickr30k's images. Ids are SNLI's pair ids; the hub's rows are joined by their number.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="xvnli",
        roles=("target", "image-text"),
        languages=("ar", "en", "es", "fr", "ru"),
        main_score="accuracy",
        dataset="floschne/xvnli",
        license="MIT; text CC BY-SA 4.0; images for non-commercial research",
        citation="Bugliarello et al. 2022, IGLUE: A Benchmark for Transfer Learning across Modalities, ICML",
        description="does a photograph entail a sentence (3 classes)",
        parallel=True,
        overlaps=("snli_ve", "snli", "anli_plus", "flickr30k_itm", "image_mlm", "xflickrco"),
        sizes={**SNLI_VE_ROWS, "test": 1_150},
    )

    def load_split(self, split: str, language: str) -> Any:
        """Load one split of one language."""
        if split != "test":
            return snli_ve(self, split, language)
        code = self.native(language)
        if not self.data_dir:
            table = load_hub(self.metadata.dataset, split=code, rows=1_164)
            rows = {"id": [f"test-{n}" for n in range(len(table))], "hypothesis": table["hypothesis"][:]}
            if "caption_id" in table.column_names:  # SNLI's, such as 4705552913.jpg#2
                rows["photo"] = [str(key).partition("#")[0] for key in table["caption_id"][:]]
            return entailment_table(rows, table["label"][:], f"{self.metadata.dataset}, {code}", table)
        name = f"annotations/{code}/test.jsonl"
        path = self.file(split, "en", f"XVNLI/{name}", f"iglue/XVNLI/{name}", f"datasets/XVNLI/{name}", name)
        read = read_jsonl(path, ("gold_label", "sentence2", "Flikr30kID", "pairID"), texts=("sentence2", "pairID"))
        rows = {"id": read["pairID"], "hypothesis": read["sentence2"]}
        rows["image"] = self.local_images([f"{n}.jpg" for n in read["Flikr30kID"]], *FLICKR_IMAGES, beside=path.parent)
        return entailment_table(rows, read["gold_label"], path)
