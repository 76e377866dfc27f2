"""What is wrong with a setting, by the kind of problem (`pipelines.errors.KINDS` has the same in English).

Only these have Chinese: they are what a person meets while filling the form. Sentences about files, bases and the
machine come from the library as they are, in English.
"""

from __future__ import annotations

from pipelines.errors import KINDS

_CHINESE = {
    "bool": "{name} 是 {got}，应为 true 或 false",
    "text": "{name} 是 {got}，应为文字",
    "choice": "{name} 是 {got}，应为以下之一：{choices}",
    "length": "{name} 有 {got} 个字符，最多 {limit} 个",
    "plain": "{name} 含有空字符或半个字符，应为普通文字",
    "whole": "{name} 是 {got}，应为整数",
    "number": "{name} 是 {got}，应为数字",
    "finite": "{name} 是 {got}，应为有限的数字",
    "low": "{name} 是 {got}，不能小于 {limit}",
    "high": "{name} 是 {got}，不能大于 {limit}",
    "server": "{name} 是 {got}，这台服务器最多允许 {limit}",
    "multiple": "{name} 是 {got}，应为 {limit} 的倍数",
    "unknown": "{name} 不是一项设置；{known}",
}

WORDS = {f"problem.{kind}": (KINDS[kind], chinese) for kind, chinese in _CHINESE.items()}
