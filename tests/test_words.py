"""What the page says: complete in every language, and nothing said twice."""

from __future__ import annotations

import re
from string import Formatter

import pytest

from lora_web.text import LANGUAGES, duration, say, speaking, spoken
from lora_web.words import WORDS

CHINESE = re.compile(r"[\u4e00-\u9fff]")
# Names are names in every language.
UNTRANSLATED = {"title", "other_language"}


def blanks(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name}


@pytest.mark.parametrize("key", WORDS)
def test_a_sentence_is_there_in_every_language(key: str) -> None:
    english, chinese = WORDS[key]
    assert english and chinese
    assert blanks(english) == blanks(chinese)
    if key not in UNTRANSLATED:
        assert CHINESE.search(chinese), chinese
        assert not CHINESE.search(english), english


def test_a_handler_speaks_the_language_of_the_page_it_was_built_for() -> None:
    with speaking("zh"):
        handler = spoken(lambda seconds: duration(seconds))
    assert handler(30) == "30 秒"
    assert duration(30) == "30 s"
    assert list(LANGUAGES) == ["en", "zh"]
    assert say("train") == "Train"
