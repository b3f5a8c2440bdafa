"""What a file is by its content: its first octets, as file(1) looks at them; and what its name says it is.

Names of types and groups are those of AsyncOS's filters ("exe", "Executable"). Called by conditions and actions on attachments. Reads no more than
the beginning of a file, and nothing inside of archives. Pure; takes what anybody wrote, and raises nothing for it.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

Group = Literal["Document", "Executable", "Compressed", "Text", "Image", "Media"]
LOOKED_AT: Final = 1 << 16  # octets of a file: what tells one office document from another stands in its first ones
TEXT_LOOKED_AT: Final = 4096  # octets that must be text for a file to be one


class FileType(NamedTuple):
    """`name` as "exe", `group` as "Executable"."""

    name: str
    group: Group


class _Mark(NamedTuple):
    """Octets that stand at an offset of every file of a type."""

    octets: bytes
    type: FileType
    at: int = 0


def _marks(group: Group, *rows: tuple[str, bytes] | tuple[str, bytes, int]) -> list[_Mark]:
    return [_Mark(row[1], FileType(row[0], group), row[2] if len(row) > 2 else 0) for row in rows]


_MARKS: Final = (
    *_marks(
        "Executable",
        ("exe", b"MZ"),  # programs, libraries, screen savers of Windows and DOS
        ("elf", b"\x7fELF"),
        ("mach-o", b"\xcf\xfa\xed\xfe"),
        ("mach-o", b"\xce\xfa\xed\xfe"),
        ("java", b"\xca\xfe\xba\xbe"),
        ("script", b"#!/"),
        ("lnk", b"L\0\0\0\x01\x14\x02\0"),  # a link that may start anything ([MS-SHLLINK] section 2.1)
    ),
    *_marks(
        "Document",
        ("pdf", b"%PDF-"),
        ("rtf", b"{\\rtf"),
        ("mdb", b"\0\x01\0\0Standard Jet DB"),
        ("mdb", b"\0\x01\0\0Standard ACE DB"),
        ("x-wmf", b"\xd7\xcd\xc6\x9a"),
        ("one", b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3"),
    ),
    *_marks(
        "Compressed",
        ("gzip", b"\x1f\x8b"),
        ("bz2", b"BZh"),
        ("xz", b"\xfd7zXZ\0"),
        ("zstd", b"\x28\xb5\x2f\xfd"),
        ("7z", b"7z\xbc\xaf\x27\x1c"),
        ("rar", b"Rar!\x1a\x07"),
        ("cab", b"MSCF"),
        ("arj", b"\x60\xea"),
        ("unix", b"\x1f\x9d"),  # compress
        ("ace", b"**ACE**", 7),
        ("lha", b"-lh", 2),
        ("zoo", b"\xdc\xa7\xc4\xfd", 20),
        ("sit", b"StuffIt"),
        ("sit", b"SIT!"),
        ("binhex", b"(This file must be converted with BinHex"),
        ("tar", b"ustar", 257),
        ("iso", b"CD001", 32769),
    ),
    *_marks(
        "Image",
        ("png", b"\x89PNG\r\n\x1a\n"),
        ("jpeg", b"\xff\xd8\xff"),
        ("gif", b"GIF8"),
        ("bmp", b"BM"),
        ("tiff", b"II*\0"),
        ("tiff", b"MM\0*"),
        ("ico", b"\0\0\x01\0"),
        ("cur", b"\0\0\x02\0"),
        ("pcx", b"\x0a\x05\x01"),
        ("psd", b"8BPS"),
        ("psp", b"Paint Shop Pro Image File"),
        ("webp", b"WEBP", 8),
    ),
    *_marks(
        "Media",
        ("wav", b"WAVE", 8),
        ("avi", b"AVI ", 8),
        ("aiff", b"AIFF", 8),
        ("mp3", b"ID3"),
        ("mp3", b"\xff\xfb"),
        ("aac", b"\xff\xf1"),
        ("ogg", b"OggS"),
        ("midi", b"MThd"),
        ("mov", b"ftypqt", 4),
        ("mpeg", b"ftyp", 4),
        ("mpeg", b"\0\0\x01\xba"),
        ("mpeg", b"\0\0\x01\xb3"),
        ("asf", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),  # wma and wmv are of it
        ("flash", b"FWS"),
        ("flash", b"CWS"),
        ("flash", b"ZWS"),
        ("snd", b".snd"),
        ("ram", b".RMF"),
    ),
)
_IN_TEXT: Final = frozenset(
    {"pdf", "rtf", "binhex", "script"}
)  # types that may be text through and through; others never are: "BM" begins words too
_RIFF: Final = frozenset({"wav", "avi", "webp"})  # which begin with RIFF too
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_IN_ZIP: Final = (  # names in an archive that make it a document (ECMA-376 part 2) or a program
    (b"word/", FileType("docx", "Document")),
    (b"xl/", FileType("xlsx", "Document")),
    (b"ppt/", FileType("pptx", "Document")),
    (b"mimetypeapplication/vnd.oasis.opendocument", FileType("odf", "Document")),
    (b"META-INF/MANIFEST.MF", FileType("java", "Executable")),
)
_IN_OLE: Final = (  # names of streams ([MS-CFB] section 2.6.1) that tell what wrote the file
    ("WordDocument", FileType("doc", "Document")),
    ("Workbook", FileType("xls", "Document")),
    ("Book", FileType("xls", "Document")),
    ("PowerPoint Document", FileType("ppt", "Document")),
    ("TBkndTask", FileType("mpp", "Document")),
    ("__nameid_version1.0", FileType("msg", "Document")),
    ("_Tables", FileType("msi", "Executable")),
)
_NOT_TEXT: Final = bytes(set(range(32)) - {9, 10, 12, 13, 27}) + b"\x7f"
_TYPES = mimetypes.MimeTypes()  # Python's own table, whatever files a machine has
for _ending in (".dll", ".exe", ".msi", ".scr"):
    _TYPES.add_type("application/x-msdownload", _ending)
_OTHER_NAMES: Final = {
    "dll": "exe",
    "gz": "gzip",
    "htm": "html",
    "jpg": "jpeg",
    "mp4": "mpeg",
    "mpg": "mpeg",
    "photoshop": "psd",
    "pif": "exe",
    "scr": "exe",
    "swf": "flash",
    "tif": "tiff",
    "wma": "asf",
    "wmv": "asf",
}
_NEVER_FOUND: Final = frozenset({"arc", "tga", "wps", "x-windows"})  # names of AsyncOS for files that begin like others, or like nothing
TYPES: Final = frozenset(
    {mark.type.name.lower() for mark in _MARKS}
    | {one.name for _, one in (*_IN_ZIP, *_IN_OLE)}
    | {"zip", "ole", "txt", "html", "xml"}
    | _OTHER_NAMES.keys()
    | _NEVER_FOUND
    | {"document", "executable", "compressed", "text", "image", "media"}
)  # what filters may ask for, in lower case: types and groups


def file_type(content: bytes) -> FileType | None:
    """The type of a file; None if nothing is known that begins like it."""
    head = content[:LOOKED_AT]
    if head.startswith(_ZIP):
        return next((kind for name, kind in _IN_ZIP if name in head), FileType("zip", "Compressed"))
    if head.startswith(_OLE):
        return next((kind for name, kind in _IN_OLE if name.encode("utf-16-le") in content), FileType("ole", "Document"))
    text = _text_type(head[:TEXT_LOOKED_AT])
    for mark in _MARKS:
        if not head.startswith(mark.octets, mark.at):
            continue
        if (mark.type.name not in _RIFF or head.startswith(b"RIFF")) and (text is None or mark.type.name in _IN_TEXT):
            return mark.type
    return text


def _text_type(head: bytes) -> FileType | None:
    if not head:
        return None
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return FileType("txt", "Text")
    if head.translate(None, _NOT_TEXT) != head:
        return None
    begin = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:256].lower()
    if begin.startswith(b"<?xml"):
        return FileType("xml", "Text")
    if begin.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<script")):
        return FileType("html", "Text")
    return FileType("txt", "Text")


def is_of(kind: FileType | None, wanted: str) -> bool:
    """Whether a file is of a type or group, named in any case."""
    name = wanted.lower()
    return kind is not None and _OTHER_NAMES.get(name, name) in (kind.name, kind.group.lower())


def names_type(file_names: Sequence[str], media_type: str, wanted: str) -> bool:
    """Whether a file is said to be of a MIME type, "image/png" or "image/*", by its declared type or the ending of a name."""
    name = wanted.lower()
    said = [media_type.lower(), *map(type_by_name, file_names)]
    return any(one.startswith(name[:-1]) for one in said) if name.endswith("/*") else name in said


def type_by_name(file_name: str) -> str:
    """The MIME type that a name's ending stands for; empty if none is known."""
    return _TYPES.guess_type(f"x.{file_name.rpartition('.')[2]}")[0] or "" if "." in file_name else ""
