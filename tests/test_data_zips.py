"""Zip files made by strangers."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipelines.data import sources
from pipelines.data.samples import Dataset, import_dataset
from pipelines.data.sources import ImportLimits

from .data_parts import CONTENTS, captions, make_zip, only, png


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "run" / "dataset"


@pytest.mark.parametrize("name", ["../evil.png", "/evil.png", "a/../../evil.png", "..\\evil.png", "C:\\evil.png"])
def test_zip_names_that_lead_out_are_rejected(tmp_path: Path, into: Path, name: str) -> None:
    archive = make_zip(tmp_path / "set.zip", {name: png(1), "good.png": png(2)})
    dataset = import_dataset([archive], into)
    assert list(captions(dataset)) == ["good.png"]
    only(dataset.rejected, "evil.png", "leads out")
    assert not list(tmp_path.rglob("*evil*"))


def test_zip_links_passwords_nested_zips_and_odd_methods_are_rejected(tmp_path: Path, into: Path) -> None:
    inner = make_zip(tmp_path / "inner.zip", {"a.png": png(1)}).read_bytes()
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("more/inner.zip", inner)
        archive.writestr("odd.png", png(2), zipfile.ZIP_BZIP2)
        archive.writestr("lock.png", png(3))
        archive.writestr("good.png", png(4))
    data = bytearray(path.read_bytes())
    at = data.rindex(b"lock.png")  # Set the flag "encrypted" in the table of contents.
    data[at - 46 + 8] |= 1
    path.write_bytes(data)
    dataset = import_dataset([path], into)
    assert list(captions(dataset)) == ["good.png"]
    assert len(dataset.rejected) == 4
    for name, word in {
        "link.png": "link",
        "inner.zip": "zip file inside",
        "odd.png": "unusual",
        "lock.png": "encr",
    }.items():
        assert any(name in sentence and word in sentence for sentence in dataset.rejected)


def test_zip_bombs_cost_no_more_than_the_limits(tmp_path: Path, into: Path) -> None:
    limits = ImportLimits(files=10, picture_bytes=100_000, total_bytes=150_000)
    bomb = make_zip(tmp_path / "bomb.zip", {"a.png": bytes(50_000_000), "z.png": png(1)})
    dataset = import_dataset([bomb], into, limits=limits)
    assert list(captions(dataset)) == ["z.png"]
    only(dataset.rejected, "a.png in bomb.zip", "97.66 KB")

    many = make_zip(tmp_path / "many.zip", {f"{i:02}.png": png(i) for i in range(15)})
    dataset = import_dataset([many], into, limits=limits)
    assert len(dataset.samples) == 10
    only(dataset.rejected, "many.zip", "at most 10 files")

    total = make_zip(tmp_path / "total.zip", {f"{i}.png": png(i) + bytes(70_000) for i in range(4)})
    dataset = import_dataset([total], into, limits=limits)
    assert len(dataset.samples) == 2
    assert len(dataset.rejected) == 2 and all("too many bytes" in sentence for sentence in dataset.rejected)


def test_a_forged_size_does_not_pass_the_limit(tmp_path: Path, into: Path) -> None:
    path = make_zip(tmp_path / "forged.zip", {"a.png": bytes(5_000_000), "good.png": png(1)})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        at = data.index(signature)
        data[at + offset : at + offset + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(data)
    dataset = import_dataset([path], into, limits=ImportLimits(picture_bytes=100_000))
    assert list(captions(dataset)) == ["good.png"]
    only(dataset.rejected, "a.png in forged.zip")


def test_a_huge_table_of_contents_is_refused(tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_CENTRAL_DIRECTORY", 70_000)
    many = make_zip(tmp_path / "many.zip", {f"{i:05}.png": b"" for i in range(2000)})
    only(import_dataset([many], into).rejected, "many.zip", "zip")


def test_damaged_zips_are_refused(tmp_path: Path, into: Path) -> None:
    data = make_zip(tmp_path / "a.zip", {"a.png": png(1)}, zipfile.ZIP_STORED).read_bytes()
    for name, broken in {"cut.zip": data[:-30], "empty.zip": b"", "text.zip": b"hello"}.items():
        (tmp_path / name).write_bytes(broken)
        only(import_dataset([tmp_path / name], into).rejected, name, "not a whole zip")
    flipped = bytearray(data)
    flipped[60] ^= 0xFF
    (tmp_path / "bits.zip").write_bytes(flipped)
    only(import_dataset([tmp_path / "bits.zip"], into).rejected, "a.png in bits.zip", "damaged")


def test_random_damage_to_a_zip_gives_sentences_only(tmp_path: Path, into: Path) -> None:
    data = np.frombuffer(make_zip(tmp_path / "a.zip", CONTENTS).read_bytes(), dtype=np.uint8)
    random = np.random.default_rng(0)
    for _ in range(80):
        broken = data.copy()
        broken[random.integers(0, len(data), 6)] = random.integers(0, 255, 6)
        (tmp_path / "b.zip").write_bytes(broken.tobytes())
        assert isinstance(import_dataset([tmp_path / "b.zip"], into), Dataset)
