"""The shape of the house (docs/architecture.md): who imports whom, who knows which word, how big things get."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.registry import FAMILIES

ROOT = Path(__file__).parents[1]
MAX_FILE, MAX_FUNCTION, MAX_PARAMETERS = 420, 65, 6
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}
# `knob` is the vocabulary of field metadata: every parameter is one key of it, given by name. The same holds for a
# constructor that diffusers registers: its parameters are the keys of the model's config.json.
MANY_PARAMETERS = {"knob"}
CONFIG_DECORATOR = "register_to_config"

FAMILY_FILES = {name: ROOT / (target.partition(":")[0].replace(".", "/") + ".py") for name, target in FAMILIES.items()}
SOURCES = sorted(
    path
    for part in ("pipelines", "lora_web", "bases/recipes", "benchmarks", "examples", "tests", "app.py")
    for path in ([ROOT / part] if part.endswith(".py") else (ROOT / part).rglob("*.py"))
    if path.exists()
)
PIPELINES = [path for path in SOURCES if path.is_relative_to(ROOT / "pipelines")]
LAYERS = [path for path in PIPELINES if path.parent.name in ("adapters", "data", "nets", "objectives")]
ADAPTERS = [path for path in LAYERS if path.parent.name == "adapters"]
FAMILY_PATHS = [path for path in FAMILY_FILES.values() if path.exists()]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> set[str]:
    """Absolute dotted names of everything a file imports, at any depth: modules, and what is taken from them."""
    package = list(path.relative_to(ROOT).parts[:-1])
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            found.add(module)
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return found


def reaches(path: Path, *modules: str) -> list[str]:
    """The imports of a file that are one of the modules, or inside one."""
    return sorted(found for found in imports(path) if any(found == m or found.startswith(m + ".") for m in modules))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def test_there_is_something_to_look_at() -> None:
    assert len(PIPELINES) > 5 and LAYERS and list(FAMILY_FILES.values()) == FAMILY_PATHS
    assert reaches(ROOT / "pipelines/registry.py", "pipelines.errors")


@pytest.mark.parametrize("path", PIPELINES, ids=name_of)
def test_pipelines_know_nothing_of_the_web(path: Path) -> None:
    assert reaches(path, "gradio", "lora_web", "app", "benchmarks", "tests", "bases.recipes") == []


@pytest.mark.parametrize("path", FAMILY_PATHS, ids=name_of)
def test_families_do_not_know_each_other_nor_strength(path: Path) -> None:
    others = [f"pipelines.{name}" for name, file in FAMILY_FILES.items() if file != path]
    assert reaches(path, *others, "pipelines.train", "pipelines.preview", "pipelines.adapters.strength") == []
    assert "strength" not in path.read_text(encoding="utf-8").lower()


@pytest.mark.parametrize("path", LAYERS, ids=name_of)
def test_layers_know_neither_families_nor_those_who_drive_them(path: Path) -> None:
    drivers = ["pipelines.train", "pipelines.preview", "pipelines.worker", "pipelines.__main__", "pipelines.registry"]
    assert reaches(path, *drivers, *(f"pipelines.{name}" for name in FAMILIES)) == []


@pytest.mark.parametrize("path", ADAPTERS, ids=name_of)
def test_adapters_never_name_a_family(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [name for name in FAMILIES if name in text] == []


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.is_relative_to(ROOT / "lora_web") or p.name == "app.py"], ids=name_of
)
def test_the_web_names_no_family_module(path: Path) -> None:
    assert reaches(path, *(f"pipelines.{name}" for name in FAMILIES)) == []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_sizes_and_names(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= MAX_FILE, f"{lines} lines"
    for function in functions(path):
        length = (function.end_lineno or 0) - function.lineno + 1
        assert length <= MAX_FUNCTION, f"{function.name} has {length} lines"
        arguments = function.args
        names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        count = len([name for name in names if name not in ("self", "cls")])
        if path.parts[-2] != "tests":  # a test's parameters are its cases and fixtures
            decorators = {node.id for node in function.decorator_list if isinstance(node, ast.Name)}
            free = function.name in MANY_PARAMETERS or CONFIG_DECORATOR in decorators
            assert free or count <= MAX_PARAMETERS, f"{function.name} has {count} parameters"


@pytest.mark.parametrize("path", [p for p in PIPELINES if p.name != "__main__.py"], ids=name_of)
def test_the_library_never_prints(path: Path) -> None:
    calls = [node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    assert not [call for call in calls if isinstance(call, ast.Name) and call.id in ("print", "breakpoint", "input")]


@pytest.mark.parametrize(
    "path", [*PIPELINES, *(p for p in SOURCES if p.is_relative_to(ROOT / "lora_web"))], ids=name_of
)
def test_nothing_unpickles_or_runs_code_from_files(path: Path) -> None:
    assert reaches(path, "pickle", "cloudpickle", "dill", "joblib") == []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert not any(word.arg == "trust_remote_code" for word in node.keywords)
            assert not (isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"))


HEAVY = ("torch", "diffusers", "transformers", "peft", "accelerate")
PROGRAMS = {
    "the contracts": "import pipelines.config as c, pipelines.registry as r, pipelines.events, pipelines.family\n"
    "[r.family_class(name) for name in r.FAMILIES]\n[c.RunConfig(family=name).problems() for name in r.FAMILIES]",
    "reading data": "\n".join(
        f"import pipelines.data.{path.stem}"
        for path in PIPELINES
        if path.parent.name == "data" and path.stem != "__init__"
    ),
    "the page": "import lora_web.app",
}


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_nothing_heavy_is_imported_early(program: str) -> None:
    if program == "the page" and not (ROOT / "lora_web/app.py").exists():
        pytest.skip("lora_web/app.py is not there")
    code = f"{PROGRAMS[program]}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    loaded = set(json.loads(result.stdout.splitlines()[-1]))
    assert [name for name in HEAVY if name in loaded] == []
