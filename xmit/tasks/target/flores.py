"""The languages of data sets that stand on FLORES-200, named briefly."""

from __future__ import annotations

from xmit.languages import from_flores


def flores_languages(codes: str) -> dict[str, str]:
    """Read a list of FLORES-200 languages, grouped by script.

    Args:
        codes: Each script before its languages, such as ``Arab acm arb Latn deu eng``.

    Returns:
        From our codes to the data's, such as ``{"de": "deu_Latn"}``, in alphabetical order of ours.
    """
    script, found = "", {}
    for word in codes.split():
        if word.istitle():
            script = word
        else:
            found[from_flores(f"{word}_{script}")] = f"{word}_{script}"
    return dict(sorted(found.items()))
