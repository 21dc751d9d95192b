"""The division of English into sentences: by hand, and against the counts of XQuAD-R's release."""

from __future__ import annotations

import pytest

from xmit.data.readers import read_squad
from xmit.data.sentences import english_sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["It ends. ", "It begins! ", "Does it? ", '"Yes." ', "So (it does.) ", "3 times."],
        ["Dr. Who met Mr. J. R. Smith. ", "They spoke of e.g. Paris, cf. No. 5, ca. 1900 and the U.S. Army."],
        ["He lives in the U.S. ", "The rest do not. ", "version 2.0 is no end"],
        ["Notes do not matter.[3][citation needed] ", "Nor do spaces.  ", "“Here” it goes on."],
        ["no capital after a stop. so it is one"],
    ],
)
def test_by_hand(sentences):
    text = " " + "".join(sentences) + " "
    found = [text[a:b] for a, b in english_sentences(text)]
    if sentences[-1].startswith("version"):
        sentences = [sentences[0], sentences[1] + sentences[2]]
    assert found == [s.strip() for s in sentences]


@pytest.mark.parametrize("text", ["", " \n"])
def test_nothing(text):
    assert english_sentences(text) == []


@pytest.mark.realdata
def test_as_many_as_xquad_r_has(real_data):
    """XQuAD-R has 1,180 English sentences of 240 paragraphs, in one of which every answer begins."""
    rows = read_squad(real_data / "xquad" / "xquad.en.json")
    spans = {context: english_sentences(context) for context in rows["context"]}
    assert len(spans) == 240
    assert abs(sum(map(len, spans.values())) - 1180) <= 12
    for context, answers in zip(rows["context"], rows["answers"], strict=True):
        assert any(a <= answers["answer_start"][0] < b for a, b in spans[context])
