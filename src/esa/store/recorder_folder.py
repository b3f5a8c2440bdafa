"""The files of the recorder: their names, reading them, and the encrypted contents beside them.

    recorder/content.key                    32 octets, made when contents are first recorded
    recorder/<writer>/lock                  held by the process that writes there
    recorder/<writer>/<ms>-<program>.open   being written, or left by a process that was killed
    recorder/<writer>/<ms>-<program>-<records>.rows   closed; nobody writes it any more, and whoever keeps the limits may remove it
    recorder/<writer>/<ms>.content          contents of the messages of that segment
    recorder/<writer>/<program>.program     what was listened for

<ms> are Unix milliseconds of its beginning, unique within a writer. A content is a frame: identifier 26 octets, length 4 (little-endian), nonce 12,
AES-256-GCM of the content with the identifier as what is authenticated beside it. Damage ends what is read of a content file.
"""

from __future__ import annotations

import os
import re
import secrets
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from esa.store.folder import make_private, telling
from esa.store.identifier import LENGTH

FOLDER = "recorder"
KEY_FILE = "content.key"
OPEN, CLOSED, CONTENT, PROGRAM = ".open", ".rows", ".content", ".program"
LINE_LIMIT = 256 << 10  # octets; a message of more than some thousand recipients is not recorded
KEY_OCTETS, NONCE_OCTETS, TAG_OCTETS = 32, 12, 16
_NAME = re.compile(r"(\d{13})-([0-9a-f]{16})(?:-(\d{1,9}))?(\.open|\.rows)\Z")
_FRAME = struct.Struct(f"<{LENGTH}sI{NONCE_OCTETS}s")


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of records. `count` is None while it is not closed."""

    path: Path
    began: int  # Unix milliseconds
    program: str
    count: int | None

    @property
    def is_open(self) -> bool:
        return self.count is None

    @property
    def content_path(self) -> Path:
        return self.path.with_name(f"{self.began:013d}{CONTENT}")

    def is_older_than(self, moment: float) -> bool:
        """Whether nothing was written to it since."""
        try:
            return self.path.stat().st_mtime < moment
        except OSError:
            return True

    def lines(self) -> Iterator[bytes]:
        """All lines, of which the last may be torn; nothing if it is gone. Raises StoreError."""
        with telling(self.path):
            try:
                file = self.path.open("rb", buffering=1 << 18)
            except FileNotFoundError:  # closed since it was listed, or gone
                closed = next((one for one in segments_of(self.path.parent) if one.began == self.began and not one.is_open), None)
                if self.is_open and closed is not None:
                    yield from closed.lines()
                return
            with file:
                while line := file.readline(LINE_LIMIT + 1):
                    yield line


def writers_of(folder: Path) -> list[Path]:
    """The folders of all writers, by name. Raises StoreError."""
    with telling(folder):
        try:
            return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return []


def segments_of(writer: Path) -> list[Segment]:
    """The segments of a writer, oldest first; foreign files are left out. Raises StoreError."""
    found = []
    with telling(writer):
        try:
            names = os.listdir(writer)  # noqa: PTH208  # names, no paths: there may be thousands
        except FileNotFoundError:
            return []
    for name in names:
        match = _NAME.match(name)
        if match is not None and (match[4] == CLOSED) == (match[3] is not None):
            found.append(Segment(writer / name, int(match[1]), match[2], None if match[3] is None else int(match[3])))
    return sorted(found, key=lambda one: (one.began, one.path.name))


def size_of(path: Path) -> int:
    """Octets of a file; 0 if it is gone."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def program_of(writer: Path, digest: str) -> bytes | None:
    """What a program file holds; None if it is not there."""
    try:
        return (writer / f"{digest}{PROGRAM}").read_bytes()
    except OSError:
        return None


def make_key(folder: Path) -> bytes:
    """The key of contents, made if it is not there (mode 0600); of several processes that make it one's counts. Raises StoreError."""
    make_private(folder)
    path = folder / KEY_FILE
    with telling(path):
        if not path.exists():
            own = folder / f"{KEY_FILE}.{os.getpid()}.new"
            descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, secrets.token_bytes(KEY_OCTETS))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            try:
                os.link(own, path)
            except FileExistsError:
                pass
            finally:
                own.unlink()
        return path.read_bytes()


def seal(key: bytes, identifier: str, content: bytes) -> bytes:
    """A frame."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # late: few record contents

    nonce = secrets.token_bytes(NONCE_OCTETS)
    name = identifier.encode("ascii")
    return _FRAME.pack(name, len(content), nonce) + AESGCM(key).encrypt(nonce, content, name)


def frames_of(path: Path) -> Iterator[tuple[str, int, int]]:
    """Identifier, offset and octets of each whole frame of a content file; nothing if it is gone."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            offset = 0
            while offset + _FRAME.size <= size:
                file.seek(offset)
                name, length, _ = _FRAME.unpack(file.read(_FRAME.size))
                octets = _FRAME.size + length + TAG_OCTETS
                if offset + octets > size or not name.isalnum():
                    return
                yield name.decode("ascii"), offset, octets
                offset += octets
    except FileNotFoundError:
        return


class Contents:
    """The contents beside a segment. Without the key there are none."""

    def __init__(self, segment: Segment) -> None:
        self._path = segment.content_path
        self._places = {name: (offset, octets) for name, offset, octets in frames_of(self._path)}
        try:
            self._key = (self._path.parent.parent / KEY_FILE).read_bytes()
        except OSError:
            self._key = b""

    def get(self, identifier: str) -> bytes | None:
        """The content of a message; None if it is not there, or was altered."""
        place = self._places.get(identifier)
        if place is None or len(self._key) != KEY_OCTETS:
            return None
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        offset, octets = place
        try:
            with self._path.open("rb") as file:
                file.seek(offset)
                frame = file.read(octets)
            name, _, nonce = _FRAME.unpack_from(frame)
            return AESGCM(self._key).decrypt(nonce, frame[_FRAME.size :], name)
        except (OSError, InvalidTag, struct.error):
            return None
