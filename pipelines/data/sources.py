"""Where files come from: folders, zip files and single files, all read as entries with hard caps.

An entry's name is data: it is compared and shown, and never becomes a path that is written.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..errors import ProblemsError
from .pictures import CONVERT

PICTURES = (".png", ".jpg", ".jpeg", ".jfif", ".webp")
CAPTIONS = (".txt", ".caption")
TABLES = ("metadata.jsonl", "metadata.csv")
LAYOUTS = (".json", ".jsonl")
NAMES = (".names", ".labels", ".yaml", ".yml")
# A list of the names of YOLO classes may end like a caption.
YOLO_NAMES = ("classes.txt", "labels.txt")
MAX_CENTRAL_DIRECTORY = 16 * 2**20
MAX_NAME = 300
_CHUNK = 2**18


@dataclass(frozen=True)
class ImportLimits:
    """What is read at most: files in all, bytes of one picture, of one caption, of one table, and of one source."""

    files: int = 20_000
    picture_bytes: int = 64 * 2**20
    caption_bytes: int = 2**16
    table_bytes: int = 16 * 2**20
    total_bytes: int = 4 * 2**30


@dataclass(frozen=True)
class Entry:
    """A file: `name` is its path inside the source with forward slashes; `read(limit)` gives its bytes and raises
    ProblemsError when there are more than `limit`, or it is damaged."""

    name: str
    read: Callable[[int], bytes]

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix.lower()

    @property
    def base(self) -> str:
        return PurePosixPath(self.name).name.lower()

    @property
    def folder(self) -> str:
        return str(PurePosixPath(self.name).parent)


@dataclass
class Source:
    """The entries of one folder, zip file or heap of single files; captions only meet pictures of the same source."""

    pictures: list[Entry] = field(default_factory=list)
    captions: list[Entry] = field(default_factory=list)
    tables: list[Entry] = field(default_factory=list)
    layouts: list[Entry] = field(default_factory=list)
    names: list[Entry] = field(default_factory=list)


Sort = Callable[[Source, Entry, list[str]], None]


@dataclass(frozen=True)
class Named:
    """A file that is called `name` by the person who gave it, whatever its path says."""

    path: Path
    name: str


def plain_name(name: str) -> str:
    """A file's name as data: forward slashes, composed (NFC), printable, no lone surrogates, the last MAX_NAME
    characters."""
    name = name.replace("\\", "/").encode("utf-8", "replace").decode("utf-8")
    name = "".join(c if c.isprintable() else " " for c in unicodedata.normalize("NFC", name))
    return PurePosixPath(name).as_posix()[-MAX_NAME:]


def open_sources(
    given: Sequence[Path | Named], into: Path, limits: ImportLimits, rejected: list[str], sort: Sort | None = None
) -> Iterator[Source]:
    """One Source per folder and zip file, then one for all single files; sentences go to `rejected`.

    `sort` puts an entry where it belongs in its Source, or says why it is left out; without it pictures are what is
    looked for. A Source can be read until the next one is asked for. `into` is passed over when it lies inside a
    folder. Raises ProblemsError when a path does not exist.
    """
    paths = [(one.path if isinstance(one, Named) else one, plain_name(one.name)) for one in given]
    absent = [path for path, _ in paths if not _exists(path)]
    missing = [f"{path} does not exist: give a folder, a zip file or a picture" for path in absent]
    if missing:
        raise ProblemsError(missing)
    files, reading = _Allowance(limits.files), _Reading(limits, rejected, sort or _sort_in)
    loose, loose_bytes = Source(), _Allowance(limits.total_bytes)
    for path, name in paths:
        if path.is_dir():
            yield _open_folder(path, into, files, reading)
        elif not path.is_file():  # A pipe would block the reader for ever.
            rejected.append(f"{name} is not a regular file: give a folder, a zip file or a picture")
        elif path.suffix.lower() == ".zip" or _starts_like_zip(path):
            yield from _open_zip(path, name, files, reading)
        elif not files.take():
            rejected.append(_too_many(name, limits))
        elif not _is_junk(name):
            reading.sort(loose, Entry(name, _file_reader(path, name, loose_bytes)), rejected)
    yield loose


@dataclass(frozen=True)
class _Reading:
    limits: ImportLimits
    rejected: list[str]
    sort: Sort


@dataclass
class _Allowance:
    left: int

    def take(self, amount: int = 1) -> bool:
        self.left -= amount
        return self.left >= 0


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # A name too long, or a folder that may not be looked into.
        return False


def _starts_like_zip(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    except OSError:
        return False


def _sort_in(source: Source, entry: Entry, rejected: list[str]) -> None:
    if entry.base in TABLES:
        source.tables.append(entry)
    elif entry.suffix in LAYOUTS:
        source.layouts.append(entry)
    elif entry.suffix in NAMES:
        source.names.append(entry)
    elif entry.suffix in CAPTIONS:
        source.captions.append(entry)
    elif entry.suffix in PICTURES:
        source.pictures.append(entry)
    elif entry.suffix == ".zip":
        rejected.append(f"{entry.name} is a zip file inside another source: unpack it, or give it by itself")
    else:
        what = f"a {entry.suffix} file" if entry.suffix else "a file without an ending"
        rejected.append(f"{entry.name} is {what}, not a picture or a caption: {CONVERT}, or leave it out")


def _is_junk(name: str) -> bool:
    """What systems and programs leave behind and nobody means to upload."""
    parts = name.split("/")
    hidden = any(part == "__MACOSX" or (part.startswith(".") and part not in (".", "..")) for part in parts)
    return hidden or parts[-1].lower() in ("thumbs.db", "desktop.ini", "obj.data")


def _too_many(name: str, limits: ImportLimits) -> str:
    return f"{name} was not read to its end: at most {limits.files:,} files are read, split the set"


def _too_large(name: str, limit: int) -> str:
    return f"{name} has more than {_size(limit)}, at most that much is read: make it smaller"


def _too_much(name: str) -> str:
    return f"{name} was not read: there are too many bytes in all before it, split the set"


def _size(count: int) -> str:
    return f"{count / 2**20:.4g} MB" if count >= 2**20 else f"{count / 2**10:.4g} KB"


def _open_folder(root: Path, into: Path, files: _Allowance, reading: _Reading) -> Source:
    limits, rejected = reading.limits, reading.rejected
    source, total = Source(), _Allowance(limits.total_bytes)
    for name, path in _walk(root, into.resolve(), rejected):
        if not files.take():
            rejected.append(_too_many(plain_name(root.name), limits))
            break
        reading.sort(source, Entry(name, _file_reader(path, name, total)), rejected)
    return source


def _walk(root: Path, into: Path, rejected: list[str]) -> Iterator[tuple[str, Path]]:
    """Regular files under a folder in a fixed order, as (name, path). Links that lead out are left out, and said."""
    inside = root.resolve()

    def unreadable(error: OSError) -> None:
        name = plain_name(Path(error.filename or root).name)
        rejected.append(f"{name} cannot be read: {error.strerror}")

    for folder, folders, files in os.walk(root, onerror=unreadable):
        here = Path(folder)
        folders[:] = sorted(item for item in folders if not _is_junk(item) and (here / item).resolve() != into)
        for item in sorted([*folders, *(file for file in files if not _is_junk(file))]):
            path = here / item
            name = plain_name(path.relative_to(root).as_posix())
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                rejected.append(f"{name} is a link that leads out of the folder: copy the file itself into the folder")
            elif path.is_dir():
                continue
            elif path.is_file():
                yield name, path
            else:
                rejected.append(f"{name} is not a regular file: leave it out")


def _file_reader(path: Path, name: str, total: _Allowance) -> Callable[[int], bytes]:
    def read(limit: int) -> bytes:
        try:
            with path.open("rb") as file:
                data = file.read(limit + 1)
        except OSError as error:
            raise ProblemsError(f"{name} cannot be read: {error.strerror or error}") from error
        if len(data) > limit:
            raise ProblemsError(_too_large(name, limit))
        if not total.take(len(data)):
            raise ProblemsError(_too_much(name))
        return data

    return read


class _CappedFile(io.FileIO):
    """A file that never hands out more than MAX_CENTRAL_DIRECTORY bytes at once.

    zipfile reads a whole table of contents in one piece and makes an object per line, so a crafted one of many
    millions of lines would fill the memory before any entry can be counted.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = os.fstat(self.fileno()).st_size - self.tell() if size is None or size < 0 else size
        if wanted > MAX_CENTRAL_DIRECTORY:
            raise zipfile.BadZipFile("the table of contents is too large")
        return super().read(size) or b""


def _open_zip(path: Path, label: str, files: _Allowance, reading: _Reading) -> Iterator[Source]:
    limits, rejected = reading.limits, reading.rejected
    with contextlib.ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(stack.enter_context(_CappedFile(path))))
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OSError, struct.error):
            rejected.append(f"{label} is not a whole zip file: zip the folder again, or give the pictures themselves")
            return
        source, total = Source(), _Allowance(limits.total_bytes)
        for info in sorted(archive.infolist(), key=lambda info: (info.filename, info.header_offset)):
            name = plain_name(info.filename)
            if not files.take():
                rejected.append(_too_many(label, limits))
                break
            if info.is_dir() or _is_junk(name):
                continue
            problem = _entry_problem(info)
            if problem:
                rejected.append(f"{name} in {label} {problem}")
            else:
                reading.sort(source, Entry(name, _zip_reader(archive, info, f"{name} in {label}", total)), rejected)
        yield source


def _entry_problem(info: zipfile.ZipInfo) -> str | None:
    name = info.filename.replace("\\", "/")
    if name.startswith("/") or ".." in name.split("/") or name[1:2] == ":":
        return "has a path that leads out of the zip file: zip the folder again"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "is a link: put the file itself into the zip file"
    if info.flag_bits & 0x1:
        return "is encrypted: zip it again without a password"
    # Python's bzip2 and LZMA readers inflate a block without a bound on its size.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is packed in an unusual way: zip it again with the ordinary method (deflate)"
    return None


def _zip_reader(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, total: _Allowance
) -> Callable[[int], bytes]:
    def read(limit: int) -> bytes:
        if info.file_size > limit:
            raise ProblemsError(_too_large(name, limit))
        chunks: list[bytes] = []
        size = 0
        try:
            with archive.open(info) as stream:
                # Counted from the stream: the sizes a zip file declares can be forged.
                while chunk := stream.read(_CHUNK):
                    size += len(chunk)
                    if size > limit:
                        raise ProblemsError(_too_large(name, limit))
                    if not total.take(len(chunk)):
                        raise ProblemsError(_too_much(name))
                    chunks.append(chunk)
        except ProblemsError:
            raise
        except (
            zipfile.BadZipFile,
            zlib.error,
            struct.error,
            NotImplementedError,
            RuntimeError,
            EOFError,
            OSError,
            ValueError,
        ):
            raise ProblemsError(f"{name} is damaged: zip the folder again") from None
        return b"".join(chunks)

    return read
