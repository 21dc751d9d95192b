"""Masked language modelling: blocks, splits, masks, and that it learns."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from scipy.stats import binom
from transformers import DataCollatorForLanguageModeling

from xmit import MultimodalModule, Trainer
from xmit.data.documents import read_documents
from xmit.errors import ConfigError, DataError, LanguageNotFoundError
from xmit.modules.encoders import load_tokenizer
from xmit.tasks import MaskedLM, MaskedLMTask

LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))


class Made(MaskedLMTask):
    """Random words, some documents twice."""

    metadata = MaskedLM.metadata

    def load_documents(self, language):
        rng = np.random.default_rng(sum(map(ord, language)))
        words = ["".join(rng.choice(LETTERS, 4)) for _ in range(300)]
        texts = [" ".join(rng.choice(words, rng.integers(5, 500))) for _ in range(400)]
        return Dataset.from_dict({"text": texts + texts[:100] + ["", " \n"]})


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("embedded:e5-small")


def made(tokenizer, **settings):
    task = Made(**{"languages": ["en", "sw"], "max_length": 64, **settings})
    task.bind(tokenizer)
    return task


def binomial(hits, n, p):
    low, high = binom.interval(0.9999, n, p)
    assert low <= hits <= high, (hits / n, p)


def mask_counts(ids, masked, labels, special, mask_id):
    """Tokens that may be predicted, and of those predicted all, replaced by the mask, by another token, and kept."""
    chosen = labels != -100
    assert not (chosen & special).any()
    assert (labels[chosen] == ids[chosen]).all()
    assert (masked[~chosen] == ids[~chosen]).all()
    kinds = masked == mask_id, (masked != ids) & (masked != mask_id), masked == ids
    return [int((~special).sum()), int(chosen.sum()), *(int((kind & chosen).sum()) for kind in kinds)]


def test_blocks_hold_the_documents_in_order_without_padding(tokenizer):
    task = made(tokenizer)
    table, examples = task.table("train"), task.examples("train")
    assert (examples.lengths[np.diff([*map(hash, examples.languages), 0]) == 0] == 64).all()
    ragged = examples.text["text"]
    for language in ("en", "sw"):
        blocks = [
            ragged.flat[ragged.offsets[i] : ragged.offsets[i + 1]]
            for i, code in enumerate(examples.languages)
            if code == language
        ]
        assert all(block[0] == tokenizer.bos_token_id and block[-1] == tokenizer.eos_token_id for block in blocks)
        stream = np.concatenate([block[1:-1] for block in blocks])
        texts = [text for text, code in zip(table["text"], table["language"], strict=True) if code == language]
        expected = [tokenizer(text)["input_ids"][1:] for text in texts]  # each ends with </s>
        assert stream.tolist() == [token for document in expected for token in document][:-1]
    assert len(set(examples.ids)) == len(examples)


def test_no_document_is_in_two_splits(tokenizer):
    task = made(tokenizer, held_out=0.05)
    splits = {}
    for split in ("train", "validation", "test"):
        table = task.table(split)
        assert set(table["language"]) == {"en", "sw"}
        splits[split] = list(zip(table["language"], table["text"], strict=True))
        assert len(set(splits[split])) == len(splits[split])
    assert [len(rows) for rows in splits.values()] == [2 * 360, 2 * 20, 2 * 20]
    assert len(set().union(*splits.values())) == 800

    # the same documents in another order are held out alike
    class Turned(Made):
        def load_documents(self, language):
            table = super().load_documents(language)
            return table.select(range(len(table) - 1, -1, -1))

    turned = Turned(languages=["en", "sw"], held_out=0.05)
    assert set(turned.table("validation")["text"]) == {text for _, text in splits["validation"]}
    assert len(made(tokenizer, documents=30).load_split("train", "en")) <= 28
    first, again = (Made(documents=30).load_split("train", "en")["text"] for _ in range(2))
    assert list(first) == list(again)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_masks_are_bert_s_as_transformers_makes_them(tokenizer, split):
    task = made(tokenizer, held_out=0.4)
    loader = task.train_dataloader() if split == "train" else task.val_dataloader()
    examples = task.examples(split)
    special_ids, mask_id = np.array(tokenizer.all_special_ids), tokenizer.mask_token_id
    collator = DataCollatorForLanguageModeling(tokenizer, seed=0)
    ours, theirs, words = np.zeros(5), np.zeros(5), []
    for batch in loader:
        plain = examples.text["text"].pad(batch["item"].tolist(), tokenizer.pad_token_id)["input_ids"]
        special = np.isin(plain.numpy(), special_ids)
        inputs, labels = batch["text"]["input_ids"], batch["labels"]
        ours += mask_counts(plain.numpy(), inputs.numpy(), labels.numpy(), special, mask_id)
        words.append(inputs[(labels != -100) & (inputs != labels) & (inputs != mask_id)])
        assert (labels != -100).any(1).all()
        made_there = collator([row[row != tokenizer.pad_token_id].tolist() for row in plain])
        seen = [made_there[name].numpy() for name in ("input_ids", "labels")]
        theirs += mask_counts(plain.numpy(), *seen, special, mask_id)
    for n, chosen, masked, replaced, kept in (ours, theirs):
        assert n >= 100_000
        for hits, total, p in ((chosen, n, 0.15), (masked, chosen, 0.8), (replaced, chosen, 0.1), (kept, chosen, 0.1)):
            binomial(hits, total, p)
    drawn = torch.cat(words).numpy()
    assert not np.isin(drawn, special_ids).any()
    assert np.histogram(drawn, 10, (0, len(tokenizer)))[0] == pytest.approx(len(drawn) / 10, rel=0.25)


def test_training_masks_come_from_the_seed_and_the_batch_alone(tokenizer):
    def batches(seed, **settings):
        torch.manual_seed(seed)
        loader = made(tokenizer, languages=["en"], batch_size=16, **settings).train_dataloader()
        torch.rand(7)
        return [(b["item"], b["text"]["input_ids"], b["labels"]) for b in loader]

    first, workers, other = batches(1), batches(1, num_workers=2), batches(2)
    assert len(first) > 3
    for a, b in zip(first, workers, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert not all(torch.equal(a[2], b[2]) for a, b in zip(first, other, strict=False))


def test_a_block_is_masked_anew_in_training_and_alike_in_scoring(tokenizer):
    task = made(tokenizer)
    task.train_dataloader()
    train, validation = task.examples("train"), task.examples("validation")
    one, two = task.collate(train, [3, 4]), task.collate(train, [3, 5])
    assert not torch.equal(one["labels"][0], two["labels"][0])
    torch.manual_seed(9)
    short = len(validation) - 1  # the last of its language
    n = validation.lengths[short]
    assert n < validation.lengths[0]
    alone, padded = task.collate(validation, [short]), task.collate(validation, [0, short])
    assert torch.equal(alone["labels"][0], padded["labels"][1, :n])
    assert torch.equal(alone["text"]["input_ids"][0], padded["text"]["input_ids"][1, :n])


def test_a_short_block_has_a_token_to_predict(tokenizer):
    task = made(tokenizer, max_length=3)
    batch = task.collate(task.examples("validation"), range(200))
    special = np.isin(task.examples("validation").text["text"].pad(range(200), 1)["input_ids"], task._special)
    assert ((batch["labels"] != -100).sum(1).numpy() == (~special).sum(1)).all()


def test_scores_are_sums_over_tokens(tokenizer):
    task = made(tokenizer)
    sums = [("en", (10, 4, 20.0)), ("en", (30, 2, 50.0)), ("sw", (5, 5, 0.0)), ("yo", (0, 0, 0.0))]
    rows = pd.DataFrame({"language": [code for code, _ in sums], "scores": [np.array(s, dtype=float) for _, s in sums]})
    scores = {(s.language, s.metric): s for s in task.score(rows)}
    assert (scores["en", "accuracy"].value, scores["en", "accuracy"].n) == (6 / 40, 40)
    assert scores["en", "perplexity"].value == pytest.approx(np.exp(70 / 40))
    assert (scores["sw", "accuracy"].value, scores["sw", "perplexity"].value) == (1, 1)
    assert np.isnan(scores["yo", "accuracy"].value)
    assert scores["yo", "perplexity"].reason


@pytest.mark.filterwarnings("ignore")
def test_training_on_a_text_file_learns_and_scores_do_not_hang_on_batches(tiny_encoder, tmp_path):
    rng = np.random.default_rng(0)
    for code, words in (("en", "the dog sees a red house"), ("zu", "inja ibona indlu ebomvu")):
        documents = [" ".join(rng.permutation(words.split()).tolist() * 4) for _ in range(60)]
        (tmp_path / f"{code}.txt").write_text("\n\n".join(documents))
    settings = {"languages": ["en", "zu"], "data_dir": str(tmp_path), "max_length": 32, "held_out": 0.1}
    torch.manual_seed(0)
    module = MultimodalModule(encoder=tiny_encoder, learning_rate=2e-2, head_learning_rate=0.5, dropout=0.0)
    fit = Trainer(
        max_steps=20, accelerator="cpu", precision="32-true", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip

    def perplexity(**more):
        fit.validate(module, MaskedLM(**settings, **more), verbose=False)
        rows = module.results["validation"]
        return rows[rows.metric == "perplexity"].set_index("language")["value"]

    before = perplexity()
    fit.fit(module, MaskedLM(**settings, batch_size=16))
    after = perplexity()
    assert list(after.index) == ["en", "zu"]
    assert (before > 1e5).all()
    assert (after < 1000).all()
    np.testing.assert_allclose(after, perplexity(eval_tokens=64), rtol=1e-5)
    rows = module.results["validation"]
    assert rows[rows.is_main].metric.unique().tolist() == ["accuracy"]
    assert rows.n.gt(0).all()


def test_text_files_in_their_layouts(tmp_path):
    (tmp_path / "en.txt").write_text("\ufeffOne,\nstill one.\r\n \t\r\n\n\nTwo.\n\nThree.", encoding="utf-8")
    (tmp_path / "de.txt.gz").write_bytes(gzip.compress(b"Eins\n\nZwei\n"))
    (tmp_path / "sw").mkdir()
    (tmp_path / "sw" / "a.txt").write_text("moja\n\nmbili")
    (tmp_path / "sw" / "b.txt.gz").write_bytes(gzip.compress(b"tatu"))
    (tmp_path / "sw" / "notes.md").write_text("no")

    def read(code, **more):
        return read_documents(tmp_path, code, task="t", **more)

    assert read("en") == ["One,\nstill one.", "Two.", "Three."]
    assert read("de") == ["Eins", "Zwei"]
    assert read("sw") == ["moja", "mbili", "tatu"]
    assert read("en", file="{language}.txt") == read("en")
    with pytest.raises(
        DataError, match=r"looked for fr\.txt or fr/\*\.txt .* which has de, en, sw\. .* other languages"
    ):
        read("fr")
    with pytest.raises(DataError, match="empty or no folder"):
        read_documents(tmp_path / "none", "en", task="t")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"en\.txt:1: the file is empty"),
        (b"a\n\nb\n\n\0c", r"en\.txt:5: a NUL byte"),
        ("a\n\nb\n\né".encode("latin-1"), r"en\.txt:5: .*(UTF-8|cut short)"),
        ("a\n\nb".encode("utf-16"), r"en\.txt:1: the encoding is UTF-16"),
        (b"one\ntwo\nthree\n", "1 different documents.*blank lines"),
        (b"one\n\none\n\ntwo\n", "2 different documents"),
    ],
)
def test_bad_text_is_one_clear_error(tmp_path, content, message):
    (tmp_path / "en.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        MaskedLM(languages=["en"], data_dir=str(tmp_path)).setup("fit")


def test_languages_and_numbers_are_checked(tmp_path):
    assert len(MaskedLM().languages) == 50
    assert MaskedLM().source_language == "en"
    task = MaskedLM(languages=["yo", "sw"])
    assert (task.source_language, task.split_languages("train")) == ("yo", ["yo", "sw"])
    assert MaskedLM(languages=["yo", "sw"], source_language="sw").source_language == "sw"
    assert MaskedLM(languages=["bbc", "ay"], data_dir=str(tmp_path)).languages[0] == "bbc"
    with pytest.raises(LanguageNotFoundError):
        MaskedLM(languages=["bbc"])
    with pytest.raises(ConfigError, match="not among its languages"):
        MaskedLM(languages=["yo"], source_language="sw")
    for settings in ({"held_out": 0.5}, {"held_out": 0}, {"mask_rate": 0}, {"max_length": 2}, {"documents": 2}):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            MaskedLM(**settings)
    with pytest.raises(ConfigError, match="held out"):
        MaskedLM(validation_file="en.txt")
