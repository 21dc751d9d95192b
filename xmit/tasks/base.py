"""The Task: a LightningDataModule that owns its data, its head spec, its decoding and its metric."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from xmit.data.batching import Batching, BatchStream, EvaluationStream, TrainingBatches, lay_out
from xmit.data.sources import find_file, found_files
from xmit.data.workers import NotSent, SpecialTokens
from xmit.errors import ConfigError, DataError, MissingDataError, XmitError, check_number
from xmit.hardware import packs_scoring, pads_groups, runs_packed, scoring_tokens
from xmit.tasks.datamodule import SplitBatches, TaskData, draw_rows
from xmit.tasks.examples import Batch, Examples, HeadSpec, Score
from xmit.tasks.item_scores import unknown
from xmit.tasks.metadata import ROLES, TaskMetadata
from xmit.tasks.parallel import check_columns, compare_size, languages_at_hand

if TYPE_CHECKING:
    import datasets
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    from xmit.data.image_spec import ImageSpec

__all__ = ["ROLES", "Batch", "Examples", "HeadSpec", "Score", "Task", "TaskData", "TaskMetadata"]

COUNTS = ("batch_size", "max_length", "eval_tokens", "train_tokens", "train_examples", "validation_examples")


class Task(TaskData):
    """Base of all tasks. Subclass a family, declare ``metadata`` and implement :meth:`load_split`.

    Args:
        languages: Languages to score, as xmit codes or the data's own; all of the metadata by default.
        source_language: The language of training and validation, or several whose data are trained on together;
            the metadata's by default. Where the data are in one language only, others are read from translate-train
            files, see :meth:`file`.
        data_dir: Folder with the original release files or the hub's parquet files, instead of the hub.
        train_file: Train on this file below ``data_dir`` instead of the release's, in a format of the release's;
            ``{language}`` in it stands for the data's own code.
        validation_file: The same for validation.
        batch_size: Examples per update and process.
        max_length: The most tokens of an input; longer ones are cut.
        batching: How training batches are drawn and computed on, see
            :class:`~xmit.data.batching.TrainingBatches`. All three give a batch the same loss.
        eval_tokens: The most tokens, padding included, of a batch that is scored; by default as many as suit the
            device that computes, see :func:`~xmit.hardware.scoring_tokens`.
        train_tokens: The most tokens of text, padding that is computed on included, that training computes on at
            once; a batch with more is cut into micro-batches, whose gradients add up to the whole batch's. All at
            once by default. Losses that compare the items of a batch with each other cannot be cut.
        train_examples: Train on this many examples, drawn once by the seed; all by default.
        validation_examples: Validate on this many examples, drawn once and alike for every seed; all by default.
        num_workers: Worker processes that build batches; by default none on the CPU and up to four for a GPU, see
            :func:`~xmit.hardware.loader_workers`.
        test_split: What is scored as the test: ``validation`` where the test labels are not public or not at
            hand. The source language's rows have then chosen the checkpoint too.
    """

    metadata: ClassVar[TaskMetadata]
    name: str
    """The registry name."""
    sizes: dict[str, int]
    """The published rows of each split under the arguments given; those of the metadata unless a task knows better."""
    tokens_per_example: ClassVar[int] = 48
    """About how many tokens an example has in all, for estimates of what a study costs."""
    on_bad_image: Literal["refuse", "skip"] = "refuse"
    """What becomes of an image that cannot be decoded; an argument of tasks with images."""
    images: str | None = None
    """``real``, ``shuffled`` or ``none``, an argument of tasks with images; None for one of text."""
    decoded_fields: ClassVar[tuple[str, ...]] = ("item", "prediction")
    """The tensors that :meth:`decode` returns, gathered over batches and processes."""
    asked_options: ClassVar[str | tuple[str, ...]] = ()
    """What numbers in predictions stand for: their names, or the canonical column with each row's choices."""
    cluster_column: ClassVar[str | None] = None
    """The column whose equal values make examples one piece of evidence: intervals are over these, not examples."""

    def __init__(
        self,
        languages: list[str] | None = None,
        source_language: str | list[str] | None = None,
        data_dir: str | None = None,
        train_file: str | None = None,
        validation_file: str | None = None,
        batch_size: int = 32,
        max_length: int = 128,
        batching: Batching = "packed",
        eval_tokens: int | None = None,
        train_tokens: int | None = None,
        train_examples: int | None = None,
        validation_examples: int | None = None,
        num_workers: int | None = None,
        test_split: Literal["test", "validation"] = "test",
    ) -> None:
        super().__init__()
        if not isinstance(getattr(type(self), "metadata", None), TaskMetadata):
            raise ConfigError(f"{type(self).__qualname__} needs a class attribute 'metadata = TaskMetadata(…)'")
        self.name, self.benchmark_version = self.metadata.name, self.metadata.benchmark_version
        if languages is not None and not languages:
            raise ConfigError("data.languages is empty: name some, or leave it out for all")
        self.languages = [self.resolve_language(code) for code in languages or self.metadata.languages]
        self.data_dir, self.train_file, self.validation_file = data_dir, train_file, validation_file
        sources = [source_language] if isinstance(source_language, str) else source_language
        sources = [self.resolve_language(code, source=True) for code in sources or [self.metadata.source_language]]
        self.source_languages = list(dict.fromkeys(sources))
        self.source_language = self.source_languages[0]
        self.batch_size, self.max_length, self.batching = batch_size, max_length, batching
        self._eval_tokens = eval_tokens
        self.train_tokens, self.train_examples = train_tokens, train_examples
        self.validation_examples = validation_examples
        given = {**{name: getattr(self, name) for name in COUNTS}, "eval_tokens": eval_tokens}
        for name, number in (*given.items(), ("num_workers", num_workers)):
            if number is not None:
                check_number(f"data.{name}", number, least=name != "num_workers", whole=True)
        self.num_workers, self.test_split = num_workers, test_split
        self.sizes = dict(self.metadata.sizes)
        self.tokenizer: PreTrainedTokenizerBase | None = None
        self.image_spec: ImageSpec | None = None
        self.train_filter: Callable[[Task, datasets.Dataset], datasets.Dataset] | None = None
        """What leaves rows out of the training data, such as those that are test items of other tasks."""
        self.asked_own: set[str] = set()  # the splits for which a file of one's own was asked for
        self._tables: dict[str, datasets.Dataset] = {}
        self._examples: dict[str, Examples] = {}

    # -- what a data set implements ----------------------------------------------------------------------

    @abstractmethod
    def load_split(self, split: str, language: str) -> datasets.Dataset:
        """Load one split of one language in the family's canonical columns.

        Args:
            split: ``train``, ``validation`` or ``test``.
            language: An xmit language code; ``self.native(language)`` is the data's own.
        """

    # -- what a family implements ------------------------------------------------------------------------

    @abstractmethod
    def head_spec(self) -> HeadSpec:
        """The head this task needs."""

    @abstractmethod
    def encode(self, table: datasets.Dataset) -> Examples:
        """Tokenise a split whose rows carry the canonical columns and ``language``."""

    @abstractmethod
    def decode(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Turn a head's outputs for a batch into the tensors of ``decoded_fields``, each ``(B, …)``."""

    @abstractmethod
    def predictions(self, decoded: dict[str, Tensor], split: str) -> pd.DataFrame:
        """Prediction rows of a whole split: ``language``, ``id``, ``prediction``, ``scores``, ``target``."""

    @abstractmethod
    def score(self, predictions: pd.DataFrame) -> list[Score]:
        """Score the prediction rows, every language apart."""

    def item_scores(self, predictions: pd.DataFrame) -> NDArray[np.float64]:
        """What each prediction row adds to its language's main score; the mean of a language's rows is that score.

        NaN where a row is not scored, and throughout where the score is no sum over examples: then the report's
        intervals do not cover the chance of the test examples.
        """
        return unknown(predictions)

    def evaluate(self, predictions: pd.DataFrame) -> list[Score]:
        """All scores of a split: each language's, and the consistency over languages of parallel examples."""
        scores = self.score(predictions)
        if self.metadata.parallel and predictions["language"].nunique() > 1:
            from xmit.tasks.scoring import consistency_scores

            scores += consistency_scores(predictions, self.source_language, self.ranking(predictions))
        return scores

    def ranking(self, predictions: pd.DataFrame) -> Tensor | None:
        """Each prediction row's candidates that all languages share, best first ``(rows, ranks)``, for RankC."""
        return None

    # -- shared ------------------------------------------------------------------------------------------

    @property
    def columns(self) -> tuple[str, ...]:
        """The canonical columns that :meth:`load_split` must return."""
        return ("id",)

    @property
    def asked_columns(self) -> tuple[str, ...]:
        """The canonical columns that say what an example asks, for people who read its prediction."""
        return ()

    @property
    def tasks(self) -> dict[str, Task]:
        """Only itself; in a mixture there are several."""
        return {self.name: self}

    @property
    def roles(self) -> tuple[str, ...]:
        """What the metadata say."""
        return self.metadata.roles

    def resolve_language(self, code: str, source: bool = False) -> str:
        """Map an xmit code or the data's own code to the xmit code.

        Args:
            code: The code.
            source: Whether it is trained on: then, with a ``data_dir``, any known language will do, since
                translations may lie there.

        Raises:
            LanguageNotFoundError: If the task has no data in that language.
        """
        return self.metadata.resolve_language(code, source, source and bool(self.data_dir))

    @classmethod
    def data_version(cls) -> str:
        """What tells one version of the data from another; part of a study's identity of a run."""
        return cls.metadata.revision or ""

    def native(self, language: str) -> str:
        """The data's own code of a language."""
        return self.metadata.language_map.get(language, language)

    def file(self, split: str, language: str, *names: str, translations: Sequence[str] = ()) -> Path:
        """Find the file of a split below ``data_dir``.

        ``train_file`` and ``validation_file`` go before everything. Translations of data that are in one language
        only are looked for by their own names, then by the original's below ``translate-train/{language}/``.

        Args:
            split: The split.
            language: An xmit code.
            *names: What the file of the data's own language may be called, in order of preference.
            translations: What the files in other languages may be called.

        Raises:
            DataError: If there is none.
        """
        assert self.data_dir is not None
        if own := self.own_file(split):
            names = (own.replace("{language}", self.native(language)),)
        elif language != self.metadata.source_language:
            codes = dict.fromkeys((language, self.native(language)))  # one folder serves tasks with other codes
            names = (*translations, *(f"translate-train/{code}/{name}" for code in codes for name in names))
        return find_file(self.data_dir, *names, task=self.name, hub=self.metadata.dataset)

    def own_file(self, split: str) -> str | None:
        """The ``train_file`` or ``validation_file`` that stands for a split, if one is given."""
        self.asked_own.add(split)
        return {"train": self.train_file, "validation": self.validation_file}.get(split)

    def bind(self, tokenizer: PreTrainedTokenizerBase, image_spec: ImageSpec | None = None) -> None:
        """Take the tokenizer, and how images are to be given, from the module."""
        if tokenizer is not self.tokenizer or image_spec is not self.image_spec:
            self._examples.clear()
        self.tokenizer, self.image_spec = tokenizer, image_spec

    def split_languages(self, split: str) -> list[str]:
        """The languages of a split: targets are tested in all, everything else is in the source languages."""
        return self.languages if split == "test" else self.source_languages

    def table(self, split: str) -> datasets.Dataset:
        """The rows of a split, all its languages, with a column ``language``; loaded once."""
        if split not in self._tables:
            import datasets

            if not self.data_dir and (self.train_file or self.validation_file):
                raise ConfigError(f"task {self.name!r}: train_file and validation_file need a data_dir that holds them")
            parts = []
            for language in self.split_languages(split):
                try:
                    part = self._load(self.test_split if split == "test" else split, language)
                except MissingDataError as error:
                    raise MissingDataError(f"{error}{languages_at_hand(self, split)}") from error
                compare_size(self, part, self.test_split if split == "test" else split, language)
                if split == "validation" and self.validation_examples is not None:  # of every language
                    part = draw_rows(part, max(1, self.validation_examples // len(self.split_languages(split))), 0)
                parts.append(part.add_column("language", [language] * len(part)))
            table = datasets.concatenate_datasets(parts)
            if split == "train" and self.train_filter is not None:
                table = self.train_filter(self, table)
            self._tables[split] = table
            if split == "train" and self.train_examples is not None:
                self._tables[split] = draw_rows(table, self.train_examples, torch.initial_seed() % 2**63)
        return self._tables[split]

    def _load(self, split: str, language: str) -> datasets.Dataset:
        import datasets

        where = f"task {self.name!r}, split {split!r}, language {language!r}"
        with found_files() as files:
            try:
                table = self.load_split(split, language)
                if not isinstance(table, datasets.Dataset):
                    raise DataError(f"{where}: load_split must return a datasets.Dataset, not a {type(table).__name__}")
                self._check(table, split, language)
            except DataError as error:
                if not files or isinstance(error, MissingDataError) or any(str(file) in str(error) for file in files):
                    raise
                raise DataError(f"{', '.join(map(str, dict.fromkeys(files)))}: {error}") from error
            except XmitError:
                raise
            except Exception as error:
                raise DataError(f"{where}: load_split failed with {type(error).__name__}: {error}") from error
        return table

    def examples(self, split: str) -> Examples:
        """The tokenised split; made once."""
        if split not in self._examples:
            if self.tokenizer is None:
                raise ConfigError(f"task {self.name!r} has no tokenizer yet: call bind(tokenizer) first")
            self._examples[split] = self.encode(self.table(split))
        return self._examples[split]

    def split_images(self, split: str) -> Sequence[Any]:
        """All images of a split, row by row, for :meth:`~xmit.data.image_spec.ImageSpec.encode`; none by default.

        Lazy: an image is read when it is asked for, and is not kept.
        """
        return ()

    def check_rows(self, table: datasets.Dataset, where: str) -> None:
        """Family checks beyond columns and ids, such as labels in range; raises :class:`DataError`."""

    def _check(self, table: datasets.Dataset, split: str, language: str) -> None:
        where = f"task {self.name!r}, split {split!r}, language {language!r}"
        check_columns(table, self.columns, where)
        self.check_rows(table, where)

    # -- LightningDataModule -----------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Load the splits of a stage, so that bad data show before the model is built."""
        wanted = {"fit": ["train", "validation"] if self.trains else [], "validate": ["validation"]}
        for split in wanted.get(stage, ["test"]):
            self.table(split)

    def collate(self, examples: Examples, items: Sequence[int]) -> Batch:
        """Build the batch of some items: padded inputs by side, labels, images."""
        assert self.tokenizer is not None
        batch: Batch = {"task": self.name, "item": torch.as_tensor(items, dtype=torch.int64)}
        for side, sequences in examples.text.items():
            batch[side] = sequences.pad(items, int(self.tokenizer.pad_token_id))
        for side, keys in examples.images.items():
            assert self.image_spec is not None
            batch[side]["image"] = self.image_spec.batch([keys[i] for i in items])
        if examples.labels is not None:
            batch["labels"] = examples.labels[torch.as_tensor(items)]
        return batch

    def batch(self, split: str, items: Sequence[int]) -> Batch:
        """Build the batch of some items of a split, with what :func:`~xmit.data.batching.lay_out` adds.

        Scoring takes batches sorted by length, with next to no padding, as they are, unless the device is better at
        packed ones.
        """
        batch, device = self.collate(self.examples(split), items), self.computes_on
        if split == "train" or packs_scoring(device):
            batching: Batching = self.batching if runs_packed(device) else "padded"
            most = self.train_tokens if split == "train" else None
            lay_out(batch, len(items), batching, most, self._places_before_text, pads_groups(device))
        return batch

    def _places_before_text(self, side: Mapping[str, Any]) -> int | None:
        """How many places the images of a side take before its text; None where layers look at them item by item."""
        if "image" not in side:
            return 0
        places: int | None = self.image_spec.prefix_places  # type: ignore[union-attr]
        return None if places is None else places * (side["image"].shape[1] // self.image_spec.n_tokens)  # type: ignore[union-attr]

    def for_workers(self, split: str) -> Self:
        """What builds the batches of a split in worker processes started by ``spawn`` or ``forkserver``.

        They get neither trainer nor tables, no other split, no ids or languages of the examples, and of the tokenizer
        the special tokens alone. Extend it where :meth:`collate` needs more, or a family's ``extra`` is large and
        needed by :meth:`predictions` only.

        Args:
            split: Which split.

        Returns:
            A copy of the task.
        """
        sent, examples = copy.copy(self), self.examples(split)
        sent.trainer = sent.check_tokens = sent.train_filter = None
        sent._tables = {}
        sent._examples = {split: replace(examples, ids=NotSent("ids"), languages=NotSent("languages"))}
        if self.tokenizer is not None:
            sent.tokenizer = cast("PreTrainedTokenizerBase", SpecialTokens(self.tokenizer))
        for name, value in vars(self).items():  # tables that are loaded again when asked for
            if name.startswith("_") and type(value).__module__.startswith("datasets."):
                setattr(sent, name, None)
        return sent

    def train_batches(self, drop_last: bool = False) -> BatchStream:
        """The training split's batches.

        Args:
            drop_last: Leave out a last batch that is not full.
        """
        seed = torch.initial_seed() % 2**63
        lengths = self.examples("train").lengths
        return TrainingBatches(lengths, self.batch_size, self.batching, seed, drop_last)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Random batches of the training split."""
        return self.loader(SplitBatches(self, "train"), self.train_batches(), training=True)

    def evaluation_loader(self, split: str) -> DataLoader[Batch]:
        """A split of all its languages in one stream, longest batches first."""
        return self.loader(SplitBatches(self, split), self.evaluation_batches(split))

    @property
    def eval_tokens(self) -> int:
        """The most tokens of a batch that is scored: as given, or what suits the device that computes."""
        return self._eval_tokens or scoring_tokens(self.computes_on)

    def evaluation_batches(self, split: str) -> EvaluationStream:
        """A split's batches for scoring."""
        return EvaluationStream(self.examples(split).lengths, self.eval_tokens)

    def preview(self, language: str | None = None, n: int = 3, split: str = "test") -> pd.DataFrame:
        """Show some examples as they were loaded.

        Args:
            language: Which language; the source language by default.
            n: How many rows.
            split: Which split.

        Returns:
            The first rows in the canonical columns, labels by their names.
        """
        import pandas as pd

        table = self.load_split(split, self.resolve_language(language or self.source_language, source=True))
        shown = pd.DataFrame(table[:n])  # decodes images, which to_pandas does not
        names = getattr(self, "label_names", ())
        return shown.assign(label=[names[i] for i in shown["label"]]) if names and "label" in shown else shown
