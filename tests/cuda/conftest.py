"""Fixtures of the tests on a simulated device."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def vision(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of one cache of vision features for all tests, so that the tower runs once."""
    return str(tmp_path_factory.mktemp("features"))
