"""Fixtures shared by all tests: tiny bases and pictures, made once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser_parts import browser, page, url, workspace  # noqa: F401

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Tiny nets gain nothing from more threads, and the tests' subprocesses would wait for each other's.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`tiny_base("sd1")` is the folder of a random base of that kind (see tests/tiny.py)."""
    from tests.tiny import make_tiny_base

    made: dict[str, Path] = {}

    def get(kind: str = "sd1") -> Path:
        if kind not in made:
            made[kind] = make_tiny_base(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return get


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six captioned pictures."""
    from tests.data_parts import make_pictures

    return make_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six captioned pictures with captioned boxes."""
    from tests.data_parts import make_layouts

    return make_layouts(tmp_path_factory.mktemp("layouts"))
