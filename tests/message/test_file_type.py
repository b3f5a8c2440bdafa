"""What files are by their first octets, and by what they are called."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import wave
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa.message.file_type import TYPES, file_type, is_of, names_type, type_by_name


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return file.getvalue()


def waved() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 1, 8000, 0, "NONE", ""))
        sound.writeframes(b"\0")
    return file.getvalue()


def stored(name: str) -> bytes:
    """The beginning of a compound file with a stream of this name."""
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + name.encode("utf-16-le")


@pytest.mark.parametrize(
    ("content", "name", "group"),
    [
        (b"MZ\x90\0", "exe", "Executable"),
        (b"\x7fELF\2\1", "elf", "Executable"),
        (b"#!/bin/sh\necho\n", "script", "Executable"),
        (stored("_Tables"), "msi", "Executable"),
        (zipped("META-INF/MANIFEST.MF", "a.class"), "java", "Executable"),
        (b"%PDF-1.7 all of it text", "pdf", "Document"),
        (b"{\\rtf1 hello}", "rtf", "Document"),
        (stored("WordDocument"), "doc", "Document"),
        (stored("Workbook"), "xls", "Document"),
        (stored("PowerPoint Document"), "ppt", "Document"),
        (stored("something"), "ole", "Document"),
        (zipped("[Content_Types].xml", "word/document.xml"), "docx", "Document"),
        (zipped("[Content_Types].xml", "xl/workbook.xml"), "xlsx", "Document"),
        (zipped("a.txt"), "zip", "Compressed"),
        (gzip.compress(b"x", mtime=0), "gzip", "Compressed"),
        (bz2.compress(b"x"), "bz2", "Compressed"),
        (lzma.compress(b"x"), "xz", "Compressed"),
        (tarred(), "tar", "Compressed"),
        (b"\x89PNG\r\n\x1a\n", "png", "Image"),
        (b"BM\x46\0\0\0\0\0", "bmp", "Image"),
        (b"RIFF\1\0\0\0WEBP", "webp", "Image"),
        (waved(), "wav", "Media"),
        (b"\0\0\0\x18ftypmp42", "mpeg", "Media"),
        (b"plain text\r\n", "txt", "Text"),
        ("Grüße".encode("latin-1"), "txt", "Text"),
        (b"\xef\xbb\xbf <!DOCTYPE html><p>", "html", "Text"),
        (b'<?xml version="1.0"?>', "xml", "Text"),
    ],
)
def test_a_file_is_known_by_how_it_begins(content: bytes, name: str, group: str) -> None:
    kind = file_type(content)
    assert kind == (name, group)
    assert is_of(kind, name.upper())
    assert is_of(kind, group)
    assert not is_of(kind, "psp")
    assert {name, group.lower()} <= TYPES


@pytest.mark.parametrize("text", [b"BMW sold well.", b"MZ is a sign.", b"ID3 is a form of tags.", b"FWS and CWS"])
def test_words_that_begin_as_a_file_does_are_text(text: bytes) -> None:
    assert file_type(text) == ("txt", "Text")


def test_what_is_like_nothing_known_has_no_type() -> None:
    assert file_type(b"") is None
    assert file_type(b"\x00\x01\x02\x03 nothing") is None
    assert file_type(b"\x01\x02\x03\x04WAVEnot in a RIFF file") is None
    assert not is_of(None, "exe")


@pytest.mark.parametrize(
    ("wanted", "name"), [("dll", "exe"), ("scr", "exe"), ("JPG", "jpeg"), ("gz", "gzip"), ("wmv", "asf"), ("mp4", "mpeg")]
)
def test_types_have_other_names(wanted: str, name: str) -> None:
    files = b"MZ\0", b"\xff\xd8\xff\0", b"\x1f\x8b\0", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"\0\0\0\0ftyp"
    kinds = [kind for kind in map(file_type, files) if kind is not None]
    assert [kind.name for kind in kinds if is_of(kind, wanted)] == [name]


@given(st.binary(max_size=600))
def test_whatever_it_is_nothing_is_raised_and_no_unknown_type_told(content: bytes) -> None:
    kind = file_type(content)
    assert kind is None or {kind.name, kind.group.lower()} <= TYPES


def test_a_mime_type_is_that_declared_or_that_of_the_name() -> None:
    assert names_type(["a.PNG"], "application/octet-stream", "image/png")
    assert names_type([], "IMAGE/PNG", "image/*")
    assert names_type(["x", "movie.mpeg"], "application/octet-stream", "Video/*")
    assert not names_type(["a.png.exe"], "text/plain", "image/png")
    assert not names_type([], "imagery/png", "image/*")
    assert (type_by_name("png"), type_by_name("a."), type_by_name(""), type_by_name("../../a.pdf")) == ("", "", "", "application/pdf")
