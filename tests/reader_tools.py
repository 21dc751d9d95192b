"""What the tests of readers share."""

from __future__ import annotations

import re

import pytest

from xmit.errors import DataError


def refused(path, read, line=None):
    """Check that the file is refused in one line that names it; return the line that it names."""
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    found = re.match(re.escape(str(path)) + r":(\d+): ", message)
    assert found, message
    assert "; " in message  # the remedy
    if line is not None:
        assert int(found[1]) == line, message
    return int(found[1])
