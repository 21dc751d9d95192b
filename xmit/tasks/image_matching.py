"""Captions and images matched in one space, and found by each other among all of a split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from xmit.data.batching import EvaluationStream, Ragged
from xmit.errors import DataError, check_choice
from xmit.tasks.base import Batch, Examples, HeadSpec, Score
from xmit.tasks.contrastive import ContrastiveTask
from xmit.tasks.nearest import in_order
from xmit.tasks.scoring import consistency_scores
from xmit.tasks.with_images import WithImages

if TYPE_CHECKING:
    import datasets
    import pandas as pd

_CHUNK = 1024  # captions whose similarities to all images are held at once


class CaptionedImages(WithImages, ContrastiveTask):
    """Find the image a caption belongs to.

    ``load_split`` returns ``id``, ``caption``, ``image`` and ``group``: the rows of one image have the same group.
    In the control without images the match is the next caption of the same group, or the caption itself where it is
    the only one: the text alone is what is learned from.
    """

    image_side: ClassVar[str] = "match"

    @property
    def columns(self) -> tuple[str, ...]:
        """The canonical columns."""
        return ("id", "caption", "group", *(self.image_columns if self.images != "none" else ()))

    def check_rows(self, table: datasets.Dataset, where: str) -> None:
        """Refuse a caption that is no text."""
        for key, caption in zip(table["id"][:], table["caption"][:], strict=True):
            if not isinstance(caption, str) or not caption.strip():
                raise DataError(f"{where}: the caption of example {key!r} is empty or no text; get the file again")

    def matches(self, table: datasets.Dataset) -> list[str]:
        """The text beside each image, which is empty; without images another caption of the group."""
        if self.images != "none":
            return [""] * len(table)
        captions, groups = table["caption"][:], dict[str, list[int]]()
        for row, group in enumerate(table["group"][:]):
            groups.setdefault(group, []).append(row)
        following = {row: rows[(n + 1) % len(rows)] for rows in groups.values() for n, row in enumerate(rows)}
        return [captions[following[row]] for row in range(len(captions))]


class ImageRetrievalTask(CaptionedImages):
    """Captions and images, trained by matching them within a batch and scored by finding one by the other.

    Training is CLIP's loss, see :class:`~xmit.modules.heads.ContrastiveHead`; with ``negatives: hard`` also image-text
    matching on pairs encoded together, see :class:`~xmit.modules.heads_image_text.ImageTextHead`.

    Scored are, over all images and captions of a language, ``t2i_recall@k``: the share of captions whose image is among
    the k nearest, and ``i2t_recall@k``: the share of images one of whose captions is, for k of 1, 5 and 10; the mean of
    both at 1 is ``recall@1``. Of equally near ones the first in the order of the rows is nearer.

    Args:
        negatives: ``in_batch`` or ``hard``.
        train: ``false`` scores the model as it is.
        images: See :class:`~xmit.tasks.with_images.WithImages`, as for all further arguments.
    """

    decoded_fields: ClassVar[tuple[str, ...]] = ("item", "vector")

    def __init__(
        self, negatives: Literal["in_batch", "hard"] = "in_batch", train: bool | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_choice("data.negatives", negatives, ("in_batch", "hard"))
        self.negatives = negatives
        self.trains = type(self).trains if train is None else train

    def head_spec(self) -> HeadSpec:
        """A contrastive head that also scores single items."""
        return HeadSpec("image_text", {"hard_negatives": self.negatives == "hard"})

    def examples(self, split: str) -> Examples:
        """The tokenised split; made once. Training has pairs, scoring every caption and every image once."""
        if split == "train" and split not in self._examples:
            self._examples[split] = super().encode(self.table(split))
        return super().examples(split)

    def encode(self, table: datasets.Dataset) -> Examples:
        """Every different caption and every image once, as items of their own."""
        pairs = super().encode(table)
        assert pairs.labels is not None
        keys = pairs.images.pop(self.image_side, None)
        first = np.unique(pairs.labels.numpy(), return_index=True)[1]
        captions, matches = _sequences(pairs.text["caption"]), _sequences(pairs.text["match"])
        texts: dict[tuple[int, ...], int] = {}
        caption = [texts.setdefault(tuple(ids), len(texts)) for ids in captions]
        pairs.text = {"text": Ragged.from_lists([*texts, *(matches[i] for i in first)])}
        pairs.extra |= {"caption": np.asarray(caption), "first_image": len(texts)}
        pairs.extra |= {"keys": [keys[i] for i in first] if keys else None, "labels": pairs.labels.numpy()}
        pairs.labels = None
        return pairs

    def collate(self, examples: Examples, items: Sequence[int]) -> Batch:
        """A batch of training pairs, or of captions, or of images."""
        batch = super().collate(examples, items)
        first = examples.extra.get("first_image", len(examples))
        if examples.extra.get("keys") and items[0] >= first:
            assert self.image_spec is not None
            batch["text"]["image"] = self.image_spec.batch([examples.extra["keys"][i - first] for i in items])
        return batch

    def evaluation_batches(self, split: str) -> EvaluationStream:
        """A split's batches for scoring, each of captions or of images alone."""
        examples = self.examples(split)
        first = examples.extra["first_image"]
        is_image = np.arange(len(examples)) >= first
        stream = EvaluationStream(examples.lengths + is_image * self.visual_tokens, self.eval_tokens)
        parts = [[i for i in batch if (i >= first) == kind] for batch in stream.batches for kind in (False, True)]
        stream.batches = [part for part in parts if part]
        return stream

    def decode(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The vectors as they are."""
        return {"item": batch["item"], "vector": outputs["vector"]}

    def predictions(self, decoded: dict[str, Tensor], split: str) -> pd.DataFrame:
        """For every caption the nearest image and for every image the nearest caption, both by their group.

        ``scores`` holds how many are nearer than the nearest right one, ``id`` begins with the direction.
        """
        import pandas as pd

        examples = self.examples(split)
        vectors = in_order(decoded, len(examples), self.name).float()
        names = np.asarray(examples.extra["groups"], dtype=object)
        languages = np.asarray(examples.languages)
        frames = []
        for language in dict.fromkeys(examples.languages):
            rows = np.flatnonzero(languages == language)
            groups, own = np.unique(examples.extra["labels"][rows], return_inverse=True)
            images = vectors[torch.as_tensor(examples.extra["first_image"] + groups)]
            captions = vectors[torch.as_tensor(examples.extra["caption"][rows])]
            ids = [f"t2i-{examples.ids[i]}" for i in rows] + [f"i2t-{name}" for name in names[groups]]
            nearest, ranks = _both_ways(captions, images, own)
            frames.append(
                pd.DataFrame(
                    {
                        "language": language,
                        "id": ids,
                        "prediction": names[groups[nearest]],
                        "scores": list(ranks[:, None].astype(np.float32)),
                        "target": np.concatenate([names[groups[own]], names[groups]]),
                    }
                )
            )
        return pd.concat(frames, ignore_index=True)

    def score(self, predictions: pd.DataFrame) -> list[Score]:
        """Recall at 1, 5 and 10 in both directions and each language."""
        scores = []
        for language, part in predictions.groupby("language", sort=False):
            first = []
            for direction in ("t2i", "i2t"):
                ranks = np.stack(part.loc[part["id"].str.startswith(direction), "scores"].to_list())[:, 0]
                values = {k: float((ranks < k).mean()) for k in (1, 5, 10)}
                scores += [Score(str(language), f"{direction}_recall@{k}", v, len(ranks)) for k, v in values.items()]
                first.append(values[1])
            scores.append(Score(str(language), "recall@1", sum(first) / 2, len(part)))
        return scores

    def evaluate(self, predictions: pd.DataFrame) -> list[Score]:
        """The scores, and where captions are parallel how alike the languages find images."""
        scores = self.score(predictions)
        if self.metadata.parallel and predictions["language"].nunique() > 1:
            found = predictions[predictions["id"].str.startswith("t2i")]
            scores += consistency_scores(found, self.source_language)
        return scores


def _sequences(ragged: Ragged) -> list[list[int]]:
    return [ids.tolist() for ids in np.split(ragged.flat, ragged.offsets[1:-1])]


def _both_ways(captions: Tensor, images: Tensor, own: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    """Nearest of each caption among the images, then of each image among the captions, as numbers of images.

    Args:
        captions: ``(N, H)``.
        images: ``(M, H)``.
        own: Which image each caption belongs to, ``(N,)``.

    Returns:
        The image found ``(N + M,)``, and how many wrong ones are nearer than the nearest right one ``(N + M,)``.
    """
    right = torch.from_numpy(own)
    found, ranks = [], []
    for start in range(0, len(captions), _CHUNK):
        similar = captions[start : start + _CHUNK] @ images.T
        mine = right[start : start + _CHUNK, None]
        found.append(similar.argmax(1).numpy())
        ranks.append(_ahead(similar, similar.gather(1, mine), mine))
    for start in range(0, len(images), _CHUNK):
        similar = images[start : start + _CHUNK] @ captions.T
        wanted = right[None, :] == torch.arange(start, min(start + _CHUNK, len(images)))[:, None]
        best, place = similar.masked_fill(~wanted, -torch.inf).max(1, keepdim=True)
        found.append(own[similar.argmax(1).numpy()])
        ranks.append(_ahead(similar, best, place))
    return np.concatenate(found), np.concatenate(ranks)


def _ahead(similar: Tensor, best: Tensor, place: Tensor) -> Any:
    """How many columns come before one: greater values, and equal ones further left."""
    left = torch.arange(similar.shape[1])[None, :] < place
    return ((similar > best) | ((similar == best) & left)).sum(1).numpy()
