"""The memory that is expected of a run is what it takes, counted on a simulated GPU; and it is said before."""

from __future__ import annotations

import contextlib
import gc
from functools import partial

import numpy as np
import pytest
import torch
from cuda.device import Device
from cuda.ledger import Ledger
from datasets import Dataset
from lightning.pytorch import Callback
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from xmit import MultimodalModule, Trainer, hardware
from xmit.__main__ import main
from xmit.memory.runs import GPU, run_memory
from xmit.memory.shapes import EncoderShape, FusionShape, encoder_shape
from xmit.memory.words import beyond, remedy
from xmit.modules.encoders import load_text_encoder
from xmit.modules.fusion import FusionConfig, build_fusion
from xmit.study.cell_cli import ConfigCheck
from xmit.tasks import (
    AnswerTask,
    ContrastiveTask,
    ImageRetrievalTask,
    MaskedLMTask,
    MultipleChoiceTask,
    QuestionAnsweringTask,
    SequenceClassificationTask,
    TaskMetadata,
    TokenClassificationTask,
)
from xmit.tasks.ranking import RankingTask
from xmit.tasks.spans import qa_table
from xmit.tasks.token_classification import sentences

pytestmark = pytest.mark.filterwarnings("ignore")

N = 24
"""Examples, all of them in one batch: every update has the largest."""
WITHIN = 0.1
VOCABULARY = 3000
WORDS = tuple("apple boat ear cat ink dog oak fish urn goat red house big river stone cloud".split())  # noqa: SIM905


QUIET = {
    "logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
    "log_every_n_steps": 50,
}  # fmt: skip


def facts(name, main="accuracy"):
    return TaskMetadata(
        name=name, roles=("target", "intermediate"), languages=("en", "de"), main_score=main, dataset="made up",
        license="CC0-1.0", citation="none", description=name,
    )  # fmt: skip


def words(number, least=15, most=70):
    rng = np.random.default_rng(number)
    return " ".join(rng.choice(WORDS, int(rng.integers(least, most))))


IDS = [str(i) for i in range(N)]
TEXTS = [words(i) for i in range(N)]


class Classes(SequenceClassificationTask):
    metadata, label_names = facts("classes"), ("a", "b", "c")

    def load_split(self, split, language):
        return Dataset.from_dict({"id": IDS, "text": TEXTS, "label": [i % 3 for i in range(N)]})


class Choices(MultipleChoiceTask):
    metadata, num_choices = facts("choices"), 3

    def load_split(self, split, language):
        choices = [[words(7 * i + k, 2, 9) for k in range(3)] for i in range(N)]
        return Dataset.from_dict({"id": IDS, "context": TEXTS, "choices": choices, "label": [0] * N})


class Tags(TokenClassificationTask):
    metadata, label_names = facts("tags", "f1"), ("O", "B-X", "I-X")

    def load_split(self, split, language):
        tokens = [text.split() for text in TEXTS]
        return sentences({"id": list(range(N)), "tokens": tokens, "tags": [["O"] * len(own) for own in tokens]})


class Spans(QuestionAnsweringTask):
    metadata = facts("spans", "f1")

    def score_answers(self, language, answers, gold):
        return {"f1": 0.0, "exact_match": 0.0, "per_item": {key: {"f1": 0.0, "exact_match": 0.0} for key in gold}}

    def load_split(self, split, language):
        answers = [{"text": [text.split()[0]], "answer_start": [0]} for text in TEXTS]
        return qa_table(
            {"id": IDS, "question": [words(i, 3, 6) for i in range(N)], "context": TEXTS, "answers": answers}
        )


class Ranked(RankingTask):
    metadata, rule = facts("ranked", "map@20"), "map"

    def load_queries(self, split, language):
        return {"id": IDS, "query": TEXTS, "targets": [[name] for name in IDS]}

    def load_candidates(self):
        return {"id": IDS, "text": TEXTS}

    def load_pairs(self, split, language):
        return {"id": IDS, "query": TEXTS, "candidate": [words(500 + i) for i in range(N)]}


class Matched(ContrastiveTask):
    metadata = facts("matched")

    def load_split(self, split, language):
        matches = [words(500 + i) for i in range(N)]
        return Dataset.from_dict({"id": IDS, "caption": TEXTS, "match": matches, "group": IDS})


class Masked(MaskedLMTask):
    metadata = facts("masked")

    def load_documents(self, language):
        return Dataset.from_dict({"text": [words(i, 40, 120) for i in range(40)]})


class Features:
    """Stands in for a tower whose features are cached."""

    n_tokens, width, fingerprint, prefix_places = 16, 48, "made up", 0

    def encode(self, images, on_bad="refuse", workers=0):
        return ["image"] * len(images)

    def batch(self, keys):
        return torch.zeros(len(keys), self.n_tokens * len(keys[0]), self.width)


class Asked(AnswerTask):
    metadata = facts("asked")

    def load_split(self, split, language):
        answers = [[WORDS[i % 16]] for i in range(N)]
        return Dataset.from_dict({"id": IDS, "image": IDS, "question": TEXTS, "answers": answers})


class Pictures(ImageRetrievalTask):
    metadata = facts("pictures", "recall@1")

    def load_split(self, split, language):
        return Dataset.from_dict({"id": IDS, "image": IDS, "caption": TEXTS, "group": IDS})


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """Folders of two small encoders, with a token for each word and more embeddings than words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

    special = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}
    known = {word: number for number, word in enumerate([*special.values(), *WORDS])}
    backend = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {f"{role}_token": token for role, token in special.items()}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, cls_token="<s>", sep_token="</s>", **names)
    folders = {}
    for name, hidden, layers, heads, wide in (("narrow", 32, 6, 2, 128), ("wide", 96, 3, 4, 256)):
        config = XLMRobertaConfig(
            vocab_size=VOCABULARY, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
            intermediate_size=wide, max_position_embeddings=514, type_vocab_size=1, pad_token_id=1,
        )  # fmt: skip
        folders[name] = str(tmp_path_factory.mktemp(name))
        XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folders[name])
        tokenizer.save_pretrained(folders[name])
    return folders


class Peaks(Callback):
    """The most that each update after the first holds, and each batch that is scored."""

    def __init__(self, device):
        self.device, self.training, self.scoring = device, 0, 0

    def on_train_batch_start(self, *_):
        self.device.reset_peak()

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.global_step > 1 + (trainer.accumulate_grad_batches > 1):
            self.training = max(self.training, self.device.peak_bytes)

    def on_validation_batch_start(self, *_):
        self.device.reset_peak()

    def on_validation_batch_end(self, *_):
        self.scoring = max(self.scoring, self.device.peak_bytes)


@contextlib.contextmanager
def looking_anew():
    """What was found out about this machine's kernels is found out again on another device."""
    looks = (hardware.flash_attn_missing, hardware.torch_varlen)
    for look in looks:
        look.cache_clear()
    yield
    for look in looks:
        look.cache_clear()


def counted(encoder, task, folder, device, monkeypatch, fusion=None, fit=None, **options):
    """A run's peaks as they are counted and as they are expected."""
    gc.collect()
    module = MultimodalModule(encoder=encoder, **{"learning_rate": 1e-4, "dropout": 0.1, **options})
    if fusion is not None:
        from xmit.memory import runs

        module.image_spec, module.fusion_config = Features(), FusionConfig(**fusion)
        monkeypatch.setattr(runs, "tower_features", lambda vision: (Features.width, Features.n_tokens))
        monkeypatch.setattr(runs, "tower_peak", lambda vision: None)
    trainer_options = {"precision": "bf16-mixed", "max_steps": 2, "limit_val_batches": 0, **(fit or {})}
    peaks = Peaks(device)
    with looking_anew(), device:
        made = Trainer(
            callbacks=[peaks], default_root_dir=str(folder), **QUIET, **trainer_options,
        )  # fmt: skip
        made.fit(module, task)
        if trainer_options["limit_val_batches"]:
            made.validate(module, task, verbose=False)  # as a fit ends, with the whole embedding again
        if fusion is not None:
            module.vision = object()
        expected = run_memory(module, task, trainer_options, device.device, at_hand=True)
    assert expected.unknown == ""
    return peaks, expected.tasks[0]


def check(counted, expected):
    assert counted > 0
    assert abs(expected / counted - 1) < WITHIN, f"{expected:,} bytes expected, {counted:,} counted"


TEXT = {
    "classification": Classes, "choice": Choices, "tagging": Tags, "qa": partial(Spans, stride=16), "ranking": Ranked,
    "contrastive": Matched, "masked": Masked,
}  # fmt: skip
KERNELS = {"flash": {"flash_attn": True}, "groups": {"torch_flash": False}}
FAST = {("classification", "flash"), ("choice", "groups")}


def task_of(kind, **more):
    return kind(**{"batch_size": N, "max_length": 128, "num_workers": 0, "languages": ["en"], **more})


def slow_unless(fast, *values):
    return pytest.param(*values, marks=() if fast else pytest.mark.slow)


@pytest.mark.parametrize(
    ("family", "kernel"),
    [slow_unless((family, kernel) in FAST, family, kernel) for family in TEXT for kernel in KERNELS],
)
def test_a_family_takes_what_is_expected(family, kernel, encoders, tmp_path, monkeypatch):
    task = task_of(TEXT[family])
    peaks, expected = counted(encoders["wide"], task, tmp_path, Device(**KERNELS[kernel]), monkeypatch)
    check(peaks.training, expected.training.live)


SETTINGS = {
    "narrow": ("narrow", {}, {}, {}),
    "fp32": ("wide", {}, {}, {"precision": "32-true"}),
    "padded": ("wide", {}, {"batching": "padded"}, {}),
    "checkpointing": ("wide", {"checkpointing": True}, {}, {}),
    "checkpointing-padded": ("narrow", {"checkpointing": True}, {"batching": "padded"}, {}),
    "micro-batches": ("wide", {}, {"train_tokens": 300}, {}),
    "full": ("narrow", {"embedding": "full"}, {}, {}),
    "frozen": ("narrow", {"embedding": "frozen"}, {}, {}),
    "no-dropout": ("wide", {"dropout": 0.0}, {}, {}),
    "accumulated": ("narrow", {}, {"batch_size": N // 2}, {"accumulate_grad_batches": 2, "max_steps": 4}),
    "bf16-true": ("wide", {}, {}, {"precision": "bf16-true"}),
}


@pytest.mark.parametrize(
    "name",
    [slow_unless(name in ("checkpointing-padded", "micro-batches", "padded", "frozen"), name) for name in SETTINGS],
)
def test_a_setting_takes_what_is_expected(name, encoders, tmp_path, monkeypatch):
    encoder, model, data, fit = SETTINGS[name]
    task = task_of(Classes, pooling="mean", **data)
    peaks, expected = counted(encoders[encoder], task, tmp_path, Device(flash_attn=True), monkeypatch, fit=fit, **model)
    check(peaks.training, expected.training.live)


FUSIONS = {
    "prefix": {"kind": "prefix"},
    "resampled": {"kind": "prefix", "tokens": 4},
    "cross_attention": {"kind": "cross_attention"},
    "late": {"kind": "late"},
}


@pytest.mark.parametrize("hard", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [slow_unless(name == "prefix", name) for name in FUSIONS])
def test_a_fusion_takes_what_is_expected(name, hard, encoders, tmp_path, monkeypatch):
    task = task_of(Pictures, negatives="hard") if hard else task_of(Asked)
    device = Device(flash_attn=True)
    peaks, expected = counted(encoders["wide"], task, tmp_path, device, monkeypatch, fusion=FUSIONS[name])
    check(peaks.training, expected.training.live)


SCORED = {
    "classification-mean": partial(Classes, pooling="mean"),
    "choice": Choices,
    "masked": partial(Masked, held_out=0.4),
}


@pytest.mark.parametrize("family", [slow_unless(family != "choice", family) for family in SCORED])
def test_scoring_takes_what_is_expected(family, encoders, tmp_path, monkeypatch):
    task = task_of(SCORED[family], max_length=24, eval_tokens=24 * 20)  # which cuts all texts to one length
    device, fit = Device(torch_flash=False), {"limit_val_batches": 1, "val_check_interval": 1}
    peaks, expected = counted(encoders["wide"], task, tmp_path, device, monkeypatch, fit=fit)
    check(peaks.scoring, expected.scoring.live)


class OnTheHost(TorchDispatchMode):
    """Counts the bytes of the tensors that operators make on the CPU."""

    def __init__(self):
        super().__init__()
        self.ledger = Ledger()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self.ledger.hold(tensor)
        return made


@pytest.mark.parametrize("dropout", [pytest.param(0.0, marks=pytest.mark.slow), 0.1])
@pytest.mark.parametrize("precision", ["32-true", pytest.param("bf16-mixed", marks=pytest.mark.slow)])
def test_the_cpu_takes_what_is_expected(precision, dropout, encoders, tmp_path):
    counter = OnTheHost()

    class Counts(Callback):
        def on_train_batch_start(self, *_):
            counter.ledger.reset_peak()

    module, task = MultimodalModule(encoder=encoders["wide"], dropout=dropout), task_of(Classes, pooling="mean")
    options = {"accelerator": "cpu", "precision": precision, "max_steps": 2, "limit_val_batches": 0}
    made = Trainer(callbacks=[Counts()], default_root_dir=str(tmp_path), **QUIET, **options)
    with counter:
        made.fit(module, task)
    expected = run_memory(module, task, options, torch.device("cpu"), at_hand=True)
    check(counter.ledger.peak_bytes, expected.tasks[0].training.live)


# -- before a run ------------------------------------------------------------------------------------------


def plan(capsys, *more):
    main(["fit", "--config", "configs/target/cldr_geo.yaml", "--dry-run", *more])
    return capsys.readouterr().out


def test_a_dry_fit_says_what_a_fit_would_do_and_does_nothing(capsys, tmp_path):
    out = plan(capsys, "--trainer.accelerator", "cpu", "--output", str(tmp_path / "run"))
    for part in (
        "task cldr_geo: 419 training examples; trained on en, 49 languages",
        "updates: 100",
        "encoder embedded:e5-small, word embeddings frozen",
        "the largest of the first epoch: 32 examples",
        "attention groups: cpu",
        f"output {tmp_path / 'run'}",
    ):
        assert part in out
    assert not (tmp_path / "run").exists()


def test_a_dry_fit_counts_the_updates_of_an_epoch(capsys):
    out = plan(
        capsys, "--trainer.max_steps", "-1", "--trainer.max_epochs", "2", "--trainer.accumulate_grad_batches", "2"
    )
    assert "updates: 14 of 2 batches" in out  # 419 examples are 14 batches of 32, so 7 updates an epoch


def test_what_is_not_known_does_not_stop_a_plan(capsys, tmp_path):
    out = plan(capsys, "--model.encoder", str(tmp_path / "nothing"))
    assert "peak memory a device: unknown: the config.json of" in out
    assert "the data are not at hand" in out  # without a tokenizer they cannot be counted in tokens
    assert "updates: 100" in out


def test_a_dry_run_is_no_setting_of_the_run(tmp_path):
    file = "configs/target/cldr_geo.yaml"
    options = ConfigCheck(["fit", "--config", file]).options
    assert "dry_run" not in options
    assert "dry" not in ConfigCheck(["fit", "--config", file])._parser("fit").dump(options, skip_none=False)


def test_a_gpu_that_is_too_small_is_warned_of_with_what_to_set(encoders):
    module = MultimodalModule(encoder="FacebookAI/xlm-roberta-large")
    task = task_of(Choices, batch_size=32, max_length=256)
    wanted = run_memory(module, task, {}, GPU)
    assert beyond(wanted, 80e9) is None
    assert beyond(wanted, None) is None
    assert "more than this GPU's 24.0 GB" in beyond(wanted, 24e9)
    found = remedy(module, task, {}, GPU, 24e9)
    assert found == "data.train_tokens 8192"
    assert task.train_tokens is None  # which was only tried
    task.train_tokens = 8192
    assert beyond(run_memory(module, task, {}, GPU), 24e9) is None
    assert remedy(module, task, {}, GPU, 5e9) is None


def test_a_dry_fit_on_a_gpu_compares_with_its_memory(capsys):
    for size, warned in ((80 * 10**9, False), (10**9, True)):
        with looking_anew(), Device(total_memory=size):
            out = plan(capsys)
        assert "device Simulated 9.0, precision bf16-mixed" in out
        assert ("warning: " in out) is warned
        assert ("are more than this GPU's 1.0 GB" in out) is warned


def test_the_losses_that_compare_a_batch_are_never_told_to_cut_it(encoders):
    module = MultimodalModule(encoder="FacebookAI/xlm-roberta-large")
    task = task_of(Matched, batch_size=512)
    assert remedy(module, task, {}, GPU, 40e9) == "model.checkpointing true"


def test_a_dry_study_says_the_peak_of_each_kind_of_cell(capsys, tmp_path):
    main(["study", "--config", "configs/study/demo.yaml", "--output", str(tmp_path / "study"), "--dry-run"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    kinds = {line[0]: line for line in lines if len(line) > 5 and line[2].startswith("cell")}
    assert list(kinds) == ["digits_text", "digits_image", "cldr_geo", "cldr_retrieval"]
    assert kinds["cldr_geo"][1:5] == ["6", "cells", "embedded:e5-small", kinds["cldr_geo"][4]]
    assert all(0.5 < float(line[4]) < 5 and line[5] == "GB" for line in kinds.values())
    assert not (tmp_path / "study").exists()


def test_published_sizes_are_those_of_the_model():
    from transformers import XLMRobertaConfig, XLMRobertaModel

    for layers, hidden, wide, heads, n in ((12, 768, 3072, 12, 277_453_056), (24, 1024, 4096, 16, 558_840_832)):
        shape = EncoderShape(250002, hidden, layers, heads, wide)
        counted = shape.layers * shape.layer + shape.other_embeddings + shape.vocabulary * shape.hidden
        with torch.device("meta"):
            config = XLMRobertaConfig(
                vocab_size=250002, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
                intermediate_size=wide, max_position_embeddings=514, type_vocab_size=1,
            )  # fmt: skip
            model = XLMRobertaModel(config, add_pooling_layer=False)
        assert sum(p.numel() for p in model.parameters()) == counted == n


@pytest.mark.parametrize("config", [{"kind": "prefix"}, {"kind": "prefix", "tokens": 4}, {"kind": "late"},
                                    {"kind": "cross_attention", "every": 3}])  # fmt: skip
def test_a_fusion_has_as_many_parameters_as_are_counted(config, encoders):
    encoder = load_text_encoder(encoders["narrow"])
    fusion = build_fusion(FusionConfig(**config), Features.width, Features.n_tokens, encoder)
    shape = FusionShape(FusionConfig(**config), Features.width, Features.n_tokens)
    assert sum(p.numel() for p in fusion.parameters()) == shape.parameters(encoder_shape(encoders["narrow"]))
