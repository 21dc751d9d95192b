"""LAReQA: the sentences, in eleven languages, that answer a question (XQuAD-R)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from xmit.data.readers import read_json, read_squad
from xmit.data.sources import find_file
from xmit.errors import ConfigError, DataError
from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.ranking import RankingTask

if TYPE_CHECKING:
    import datasets

URL = "https://raw.githubusercontent.com/google-research-datasets/lareqa/{revision}/xquad-r/{code}.json"


@register_task
class LAReQA(RankingTask):
    """Each of 1,190 questions in a language, against all 13,014 sentences of the paragraphs in all eleven.

    As in XTREME-R (``utils_lareqa.py``, ``evaluate_retrieval.py``): a candidate is its sentence followed by its
    paragraph; right are the sentences in which the answer begins, in all languages; the score is mAP@20. The
    candidates are those of all languages, whichever ``languages`` are asked.

    XTREME-R's baseline trains on SQuAD before (in-batch softmax over pooler outputs). That phase is *not* there yet:
    the encoder is scored as it is, so that numbers do not compare with the published ones.
    The hub's copy (``google-research-datasets/xquad_r``) has lost the sentence breaks: without ``data_dir`` the
    files are fetched from the release on GitHub.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="lareqa",
        roles=("target",),
        languages=("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh"),
        main_score="map@20",
        dataset="github.com/google-research-datasets/lareqa",
        revision="9bc8c7fb6dd8d01d72a05a93c2cb96882b0d299c",
        license="CC BY-SA 4.0",
        citation="Roy et al. (2020), LAReQA: Language-Agnostic Answer Retrieval from a Multilingual Pool, EMNLP",
        description="answer sentences in eleven languages to a question in one of them",
        parallel=True,
        benchmark_version="xtreme-r",
        sizes={"test": 1_190},
    )
    rule = "map"

    def __init__(self, max_length: int = 256, max_query_length: int = 96, **kwargs: Any) -> None:
        super().__init__(max_length=max_length, max_query_length=max_query_length, **kwargs)
        self._files: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]], dict[str, list[str]]]] = {}

    def load_split(self, split: str, language: str) -> datasets.Dataset:
        """Load the questions of one language, and the right sentences of all."""
        import datasets

        if split not in ("test", "validation"):
            raise ConfigError(f"task {self.name!r} has no split {split!r}: it is only scored, on 'test'")
        questions = self._read(language)[0]
        right = [self._read(code)[2] for code in self.metadata.languages]
        targets = [[name for answers in right for name in answers.get(key, ())] for key, _ in questions]
        return datasets.Dataset.from_dict(
            {"id": [key for key, _ in questions], "query": [text for _, text in questions], "targets": targets}
        )

    def load_candidates(self) -> datasets.Dataset:
        """Load the sentences of all languages, each followed by its paragraph."""
        import datasets

        rows = [row for code in self.metadata.languages for row in self._read(code)[1]]
        return datasets.Dataset.from_dict({"id": [name for name, _ in rows], "text": [text for _, text in rows]})

    def _read(self, language: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]], dict[str, list[str]]]:
        """Questions, candidates, and the right candidates by question, of one file."""
        if language not in self._files:
            path = self._path(language)
            read_squad(path)  # which refuses what is broken
            questions, candidates, right = [], [], {}
            paragraphs = [p for article in read_json(path)["data"] for p in article["paragraphs"]]
            for number, paragraph in enumerate(paragraphs, 1):
                context, breaks = paragraph["context"], paragraph.get("sentence_breaks")
                if not breaks or any(not 0 <= a <= b <= len(context) for a, b in breaks):
                    raise DataError(
                        f"{path}: paragraph {number} has no (or wrong) sentence_breaks: XQuAD-R is wanted, not XQuAD; "
                        "get it from github.com/google-research-datasets/lareqa"
                    )
                sentences = [context[a:b] for a, b in breaks]
                names = [f"{language}_{number}_{place}" for place in range(len(sentences))]
                candidates += [
                    (name, (s + context).replace("\n", "")) for name, s in zip(names, sentences, strict=True)
                ]
                for qa in paragraph["qas"]:
                    start = qa["answers"][0]["answer_start"] if qa["answers"] else -1
                    answer = next((s for (a, b), s in zip(breaks, sentences, strict=True) if a <= start < b), "")
                    if answer:  # where no sentence has the answer's beginning the question is left out
                        questions.append((str(qa["id"]), qa["question"]))
                        right[str(qa["id"])] = [n for n, s in zip(names, sentences, strict=True) if s == answer]
            self._files[language] = questions, candidates, right
        return self._files[language]

    def _path(self, language: str) -> Path:
        if self.data_dir:
            names = [f"{folder}{language}.json" for folder in ("", "xquad-r/", "lareqa/xquad-r/")]
            return find_file(self.data_dir, *names, task=self.name, hub=self.metadata.dataset)
        import datasets

        url = URL.format(revision=self.metadata.revision, code=language)
        try:
            return Path(datasets.DownloadManager().download(url))
        except (OSError, ValueError) as error:
            remedy = "pass data_dir with the files of github.com/google-research-datasets/lareqa"
            raise DataError(f"task {self.name!r}: {url} cannot be fetched ({error}); {remedy}") from error
