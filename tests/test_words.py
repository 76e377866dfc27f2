"""What the page says: complete in every language, and nothing said twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import Formatter

import pytest

from lora_web.text import LANGUAGES, duration, say, speaking, spoken
from lora_web.words import PARTS, WORDS

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


def test_no_part_of_the_page_takes_the_words_of_another() -> None:
    every = [key for part in PARTS for key in part.WORDS]
    assert sorted(every) == sorted(WORDS)


def test_a_handler_speaks_the_language_of_the_page_it_was_built_for() -> None:
    with speaking("zh"):
        handler = spoken(lambda seconds: duration(seconds))
    assert handler(30) == "30 秒"
    assert duration(30) == "30 s"
    assert list(LANGUAGES) == ["en", "zh"]
    assert say("train") == "Train"


def test_a_handler_that_answers_in_parts_speaks_it_to_the_end() -> None:
    with speaking("zh"):
        handler = spoken(_two_parts)
    answers = handler(20)
    assert next(answers) == "20 秒"
    assert duration(20) == "20 s"
    assert list(answers) == ["40 秒"]


def _two_parts(seconds: float) -> Iterator[str]:
    yield duration(seconds)
    yield duration(2 * seconds)
