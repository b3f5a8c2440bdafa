"""Readers of recorded mail: a file, a folder, mbox, Maildir, tar archives, a TREC index, standard input; compressed or not.

Called by `esa scan`, `esa evaluate`, `esa train`, `esa bench`. Everything is read lazily and in a fixed order, nothing is extracted to
disk, and nothing raises: what cannot be read is yielded as an item with an error, and the rest goes on.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import re
import stat
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tarfile import EmptyHeaderError, EOFHeaderError, HeaderError, ReadError  # type: ignore[attr-defined]  # typeshed lacks the first two
from typing import IO, Literal, Self

from esa.errors import CorpusError
from esa.learning.mbox import looks_like_mbox, split_mbox

Label = Literal["ham", "spam"]

MAX_ITEM = 1 << 30  # bytes of one message; the core's offsets are uint32 and a larger file is not a message
MAX_INDEX = 1 << 28  # bytes of a TREC index: some million lines
MAX_FOLDER_DEPTH = 64  # folders inside folders; links to folders are not followed
SNIFF = 512  # bytes that tell an archive, an mbox or a message apart

_LABELS: Mapping[str, Label] = {"ham": "ham", "spam": "spam"}
_NOT_MAIL = frozenset({"cmds", "INDEX.tsv"})  # files that lie beside messages in the layouts read here
_TREC_MEMBER = re.compile(r"(?:^|/)(?:full/index|data/inmail\.\d+)$")
_TREC_LINE = re.compile(r"(ham|spam)\s+(\S.*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Item:
    """One message of a corpus, or one thing that could not be read. Exactly one of `content` and `error` is set."""

    path: str  # where it stands: "a/b.eml", "box.mbox#3" (counted from 1), "mail.tar.zst!a/ham/1.eml", "-"
    corpus: str  # name of the corpus: the folder above ham/ and spam/, else the name of what was given
    label: Label | None = None
    content: bytes | None = None
    error: CorpusError | None = None


def iter_corpora(paths: Iterable[str | Path]) -> Iterator[Item]:
    """Every item of every path, in the order given."""
    for path in paths:
        yield from iter_corpus(path)


def iter_corpus(path: str | Path, *, stdin: IO[bytes] | None = None) -> Iterator[Item]:
    """Every message below `path`; `-` is standard input (one message, an mbox, or an archive)."""
    if str(path) == "-":
        yield from _read_stream(stdin if stdin is not None else sys.stdin.buffer)
        return
    path = Path(path)
    whole = path.resolve()
    # only the folder named, or the one a named file stands in, tells a label: /srv/spam/archive/x says nothing of x
    folder = whole if path.is_dir() else whole.parent
    name, label = _named((folder.parent.name, folder.name), whole.name or str(path))
    try:
        if path.is_dir():
            yield from _read_folder(path, name, label, 0)
        elif path.name == "index" and path.parent.name == "full":
            yield from _read_trec(path)
        else:
            yield from _read_file(path, name, label)
    except OSError as error:
        yield _unreadable(str(path), name, error)


def _named(parts: tuple[str, ...], default: str) -> tuple[str, Label | None]:
    """Corpus name and label of a path: the last ham or spam folder and the folder above it."""
    for i in range(len(parts) - 1, -1, -1):
        if parts[i] in _LABELS:
            return (parts[i - 1] if i and parts[i - 1] != "/" else default), _LABELS[parts[i]]
    return default, None


def _unreadable(path: str, corpus: str, error: Exception, label: Label | None = None) -> Item:
    what = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return Item(path, corpus, label, error=CorpusError(f"cannot be read: {what}", where=path, mend="Check the path and its permissions."))


def _fault(path: str, corpus: str, what: str, mend: str) -> Item:
    return Item(path, corpus, error=CorpusError(what, where=path, mend=mend))


# --- folders ---------------------------------------------------------------------------------------------------------------------


def _read_folder(folder: Path, corpus: str, label: Label | None, depth: int) -> Iterator[Item]:
    if depth > MAX_FOLDER_DEPTH:
        yield _fault(str(folder), corpus, f"more than {MAX_FOLDER_DEPTH} folders deep", "Name a folder further down.")
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield _unreadable(str(folder), corpus, error)
        return
    folders = {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
    if label is None and (folder / "full" / "index").is_file():
        yield from _read_trec(folder / "full" / "index")
        return
    maildir = {"cur", "new"} <= folders
    labelled = label is None and bool(folders & _LABELS.keys())
    for entry in entries:
        if entry.name in folders:
            if maildir and entry.name not in ("cur", "new"):
                continue  # tmp/ is mail still being written; .Sub folders are other mailboxes
            if labelled and entry.name in _LABELS:
                yield from _read_folder(Path(entry.path), folder.resolve().name, _LABELS[entry.name], depth + 1)
            else:
                below = corpus if maildir or label else entry.name
                yield from _read_folder(Path(entry.path), below, label, depth + 1)
        elif not (maildir or labelled or entry.name.startswith(".") or entry.name in _NOT_MAIL):
            # beside ham/ and spam/ lie notes and indexes; files of a labelled folder are one message each, whatever their first line says
            yield from _read_file(Path(entry.path), corpus, label, whole=label is not None)


def _read_file(path: Path, corpus: str, label: Label | None, *, whole: bool = False) -> Iterator[Item]:
    try:
        with os.fdopen(_open_regular(path), "rb") as file:
            yield from _read_sniffed(file, str(path), corpus, label, whole=whole, size=os.fstat(file.fileno()).st_size)
    except (OSError, ValueError) as error:
        yield _unreadable(str(path), corpus, error, label)


def _open_regular(path: Path) -> int:
    """Open without waiting on a pipe or terminal that stands where a message should."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return descriptor


def _read_stream(stream: IO[bytes]) -> Iterator[Item]:
    try:
        yield from _read_sniffed(io.BufferedReader(_Raw(stream)), "-", "-", None)
    except OSError as error:
        yield _unreadable("-", "-", error)


class _Raw(io.RawIOBase):
    """A stream that may not seek or peek (standard input), for BufferedReader."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]  # RawIOBase gives a writable buffer
        data = self._stream.read(len(view))
        view[: len(data)] = data
        return len(data)


def _read_sniffed(
    file: io.BufferedReader, path: str, corpus: str, label: Label | None, *, whole: bool = False, size: int | None = None
) -> Iterator[Item]:
    head = file.peek(SNIFF)[:SNIFF]
    if not whole and _is_packed(head):
        yield from _read_packed(file, head, path, corpus if path == "-" else _stem(path), label)
        return
    if size is not None and size > MAX_ITEM and not head.startswith(b"From "):
        yield _fault(path, corpus, f"larger than {MAX_ITEM >> 20} MiB", "This is no message; leave it out.")
        return
    foreign = next((kind for magic, kind in _FOREIGN.items() if head.startswith(magic)), None)
    if foreign is not None and not whole:
        yield _fault(path, corpus, f"{foreign}, which is not read", "Unpack it first, or pack the messages as .tar.gz or .tar.zst.")
        return
    yield from _items_of(file.read(), path, corpus, label, whole=whole)


def _items_of(content: bytes, path: str, corpus: str, label: Label | None, *, whole: bool) -> Iterator[Item]:
    """One message, or those of an mbox. A file of one message is that message, whether it kept its From_ line or not."""
    found = [] if whole or not looks_like_mbox(content) else list(split_mbox(content))
    if len(found) < 2:
        yield Item(path, corpus, label, content)
        return
    for number, (start, end) in enumerate(found, 1):
        yield Item(f"{path}#{number}", corpus, label, content[start:end])


_TAR_NAME = re.compile(r"\.(?:tar(?:\.\w+)?|t(?:gz|xz|bz2?|zst))$")


def _stem(path: str) -> str:
    name = PurePosixPath(path).name
    return _TAR_NAME.sub("", name) or name


# --- archives --------------------------------------------------------------------------------------------------------------------


_GZIP, _ZSTANDARD, _XZ, _BZIP2 = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh"
_FOREIGN = {b"PK\x03\x04": "a ZIP archive", b"7z\xbc\xaf\x27\x1c": "a 7z archive", b"Rar!\x1a\x07": "a RAR archive"}  # not read


def _is_packed(head: bytes) -> bool:
    """Whether it is an archive, or one compressed file."""
    return head.startswith((_GZIP, _ZSTANDARD, _XZ)) or (head[:3] == _BZIP2 and head[4:10] == b"1AY&SY") or head[257:262] == b"ustar"


class _Member(tarfile.TarInfo):
    """A member's header. tarfile takes whatever is no header for the end of the archive, and the rest would be lost unsaid: here only the
    end mark is an end (POSIX: two blocks of zeros)."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except EOFHeaderError:
            raise
        except HeaderError as error:
            what = "no end mark" if isinstance(error, EmptyHeaderError) else str(error)
            raise ReadError(f"{what} at octet {tarfile.offset}") from error


def _is_tar(head: bytes, path: str) -> bool:
    """Whether what came out of a compressed file is an archive: by its first header, or by its name if that is damaged or missing."""
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "replace")
    except tarfile.TarError:
        return _TAR_NAME.search(path) is not None or (path == "-" and not head.strip(b"\0"))
    return True


def _decompressed(file: io.BufferedReader, head: bytes, path: str) -> io.BufferedReader:
    """What is in it, if it is compressed. Raises CorpusError if that needs a package; reading raises what each library has for damage."""
    if head.startswith(_GZIP):
        return io.BufferedReader(gzip.GzipFile(fileobj=file), 1 << 17)
    if head.startswith(_XZ):
        return io.BufferedReader(lzma.LZMAFile(file), 1 << 17)
    if head.startswith(_BZIP2):
        return io.BufferedReader(bz2.BZ2File(file), 1 << 17)
    if head.startswith(_ZSTANDARD):
        try:
            import zstandard
        except ImportError:
            raise CorpusError(
                "a .zst file needs the package zstandard, which is not installed",
                where=path,
                mend="Install esa-appliance[learning], or decompress the file first.",
            ) from None
        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True), 1 << 17)
    return file


def _read_packed(file: io.BufferedReader, head: bytes, path: str, corpus: str, label: Label | None) -> Iterator[Item]:
    """The members of a tar archive as they come, or what one compressed file holds; of a damaged one those before the damage, then an error."""
    labels: Mapping[str, Label] | None = None
    try:
        plain = _decompressed(file, head, path)
        if plain is not file and not _is_tar(plain.peek(SNIFF)[:SNIFF], path):
            content = plain.read(MAX_ITEM + 1)
            if len(content) > MAX_ITEM:
                yield _fault(path, corpus, f"larger than {MAX_ITEM >> 20} MiB when decompressed", "Decompress it first.")
            else:
                yield from _items_of(content, path, corpus, label, whole=False)
            return
        with tarfile.open(fileobj=plain, mode="r|", tarinfo=_Member) as archive:
            for member in archive:
                where = f"{path}!{member.name}"
                parts = PurePosixPath(member.name).parts
                if not member.isreg() or not _is_mail_member(parts):
                    continue
                if labels is None and _TREC_MEMBER.search(member.name):
                    labels = _trec_labels_of_archive(path)
                if labels is not None and member.name.endswith("full/index"):
                    continue
                name, known = _named(parts, corpus)
                known = known or (labels or {}).get(_normal(member.name)) or label
                if member.size > MAX_ITEM:
                    yield _fault(where, name, f"larger than {MAX_ITEM >> 20} MiB", "This is no message; leave it out.")
                    continue
                extracted = archive.extractfile(member)
                content = extracted.read() if extracted is not None else b""
                yield from _items_of(content, where, name, known, whole=known is not None)
    except CorpusError as error:
        yield Item(path, corpus, error=error)
    except Exception as error:  # tarfile and each library of compression have their own for damage
        yield Item(
            path,
            corpus,
            error=CorpusError(
                f"the file is damaged or cut short: {str(error) or type(error).__name__}",
                where=path,
                mend="Fetch or pack it again; the messages before the damage were read.",
            ),
        )


def _is_mail_member(parts: tuple[str, ...]) -> bool:
    if not parts or parts[-1].startswith(".") or parts[-1] in _NOT_MAIL:
        return False
    return len(parts) < 2 or parts[-2] != "tmp"  # of a Maildir


# --- TREC ------------------------------------------------------------------------------------------------------------------------


def _normal(path: str) -> str:
    return os.path.normpath(path).lstrip("/")


def _trec_labels_of_archive(path: str) -> dict[str, Label]:
    """Labels by normal member name, from `full/index` wherever in the archive it stands; none for standard input, which is read once."""
    if path == "-":
        return {}
    with Path(path).open("rb") as file:
        head = file.peek(SNIFF)[:SNIFF]
        with tarfile.open(fileobj=_decompressed(file, head, path), mode="r|", tarinfo=_Member) as archive:
            for member in archive:
                if not member.isreg() or not re.search(r"(?:^|/)full/index$", member.name) or member.size > MAX_INDEX:
                    continue
                extracted = archive.extractfile(member)
                text = extracted.read().decode("utf-8", "replace") if extracted is not None else ""
                folder = PurePosixPath(member.name).parent
                found = (_TREC_LINE.fullmatch(line.strip()) for line in text.splitlines())
                return {_normal(str(folder / match[2])): _LABELS[match[1].lower()] for match in found if match}
    return {}


def _read_trec(index: Path) -> Iterator[Item]:
    """The messages of a TREC `full/index`, in its order (which is time)."""
    corpus = index.resolve().parent.parent.name
    try:
        if index.stat().st_size > MAX_INDEX:
            yield _fault(str(index), corpus, f"larger than {MAX_INDEX >> 20} MiB", "This is no TREC index.")
            return
        lines = index.read_text("utf-8", "replace").splitlines()
    except OSError as error:
        yield _unreadable(str(index), corpus, error)
        return
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = _TREC_LINE.fullmatch(line.strip())
        if match is None:
            mend = "A line of a TREC index reads `spam ../data/inmail.1` or `ham ...`."
            yield _fault(f"{index}:{number}", corpus, f"not a line of a TREC index: {line.strip()[:60]!r}", mend)
            continue
        yield from _read_file(index.parent / match[2], corpus, _LABELS[match[1].lower()], whole=True)
