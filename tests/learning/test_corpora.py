"""Readers of corpora: every layout, labels and names, and that nothing odd or unreadable stops the rest."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from esa.learning.corpora import Item, iter_corpora, iter_corpus
from esa.learning.mbox import split_mbox

COMPRESSIONS = [gzip.compress, lzma.compress, bz2.compress, zstandard.ZstdCompressor().compress]
ONE = b"From: a@example.org\nSubject: one\n\nFirst.\n"
TWO = b"From: b@example.org\nSubject: two\n\nSecond.\n"
DATED = b"From a@example.org Mon Jan  1 00:00:00 2024\n"


def labelled(folder: Path) -> Path:
    for name, content in (("ham/1.eml", ONE), ("spam/1.eml", TWO), ("spam/2.eml", DATED + ONE)):
        path = folder / "mail" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "mail" / "INDEX.tsv").write_text("path\tlabel\n")
    return folder / "mail"


def packed(folder: Path, members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def contents(items: list[Item]) -> list[bytes | None]:
    return [item.content for item in items]


def test_a_file_is_one_message_without_label(tmp_path: Path) -> None:
    (tmp_path / "m.eml").write_bytes(ONE)
    (item,) = iter_corpus(tmp_path / "m.eml")
    assert (item.path, item.corpus, item.label, item.content) == (str(tmp_path / "m.eml"), "m.eml", None, ONE)


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 100, b"\xff\xfe\n\n", b"From ", b"From me to you\n"])
def test_odd_bytes_are_a_message_too(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd").write_bytes(content)
    assert contents(list(iter_corpus(tmp_path / "odd"))) == [content]


def test_a_labelled_folder_gives_its_name_and_labels_in_order(tmp_path: Path) -> None:
    items = list(iter_corpus(labelled(tmp_path)))
    assert [(item.corpus, item.label, item.content) for item in items] == [
        ("mail", "ham", ONE),
        ("mail", "spam", TWO),
        ("mail", "spam", DATED + ONE),  # one file of a labelled folder is one message
    ]


def test_a_folder_of_corpora_and_a_single_label_know_their_corpus(tmp_path: Path) -> None:
    labelled(tmp_path)
    assert [(item.corpus, item.label) for item in iter_corpus(tmp_path)] == [("mail", "ham"), ("mail", "spam"), ("mail", "spam")]
    assert {(item.corpus, item.label) for item in iter_corpus(tmp_path / "mail" / "spam")} == {("mail", "spam")}
    (item,) = iter_corpus(tmp_path / "mail" / "ham" / "1.eml")
    assert (item.corpus, item.label) == ("mail", "ham")


def test_a_folder_far_above_tells_no_label(tmp_path: Path) -> None:
    path = tmp_path / "spam" / "archive" / "letters" / "1.eml"
    path.parent.mkdir(parents=True)
    path.write_bytes(ONE)
    assert [item.label for item in iter_corpus(tmp_path / "spam" / "archive" / "letters")] == [None]


@pytest.mark.parametrize("pack", [lambda data: data, *COMPRESSIONS])
def test_archives_are_read_as_the_folder_they_hold(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    archive = tmp_path / "some.tar.zst"
    archive.write_bytes(pack(packed(tmp_path, {"mail/ham/1": ONE, "mail/INDEX.tsv": b"x", "mail/spam/1": DATED + TWO})))
    items = list(iter_corpus(archive))
    assert [(item.path, item.corpus, item.label, item.content) for item in items] == [
        (f"{archive}!mail/ham/1", "mail", "ham", ONE),
        (f"{archive}!mail/spam/1", "mail", "spam", DATED + TWO),
    ]


@pytest.mark.parametrize("pack", [lambda data: data, *COMPRESSIONS])
def test_of_a_cut_archive_the_beginning_is_read_and_the_damage_told(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    whole = pack(packed(tmp_path, {f"mail/ham/{n}": ONE + os.urandom(3000) for n in range(20)}))
    archive = tmp_path / "cut.tar"
    archive.write_bytes(whole[: len(whole) // 2])
    items = list(iter_corpus(archive))
    assert all(item.content is not None for item in items[:-1])
    error = items[-1].error
    assert error is not None
    assert "damaged or cut short" in str(error)
    assert error.where == str(archive)


@pytest.mark.parametrize("pack", [lambda data: data, *COMPRESSIONS])
@pytest.mark.parametrize("what", ["a header overwritten", "cut between two members"])
def test_the_end_of_an_archive_is_its_end_mark_and_nothing_else(tmp_path: Path, pack: Callable[[bytes], bytes], what: str) -> None:
    whole = packed(tmp_path, {f"mail/ham/{n}": ONE for n in range(5)})
    member = whole.index(b"mail/ham/2")
    assert member % 512 == 0
    archive = tmp_path / "odd.tar"
    archive.write_bytes(pack(whole[:member] if what.startswith("cut") else whole[:member] + b"\xff" * 512 + whole[member + 512 :]))
    items = list(iter_corpus(archive))
    assert [item.content for item in items[:-1]] == [ONE, ONE]
    assert f"at octet {member}" in str(items[-1].error)


@pytest.mark.parametrize("pack", COMPRESSIONS)
def test_a_compressed_message_or_mbox_is_read_as_what_it_holds(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    message, box = tmp_path / "1.eml.packed", tmp_path / "box.mbox.packed"
    message.write_bytes(pack(ONE))
    box.write_bytes(pack(b"".join(b"From a@example.org Thu Jan  1 00:00:00 2026\n" + one + b"\n" for one in (ONE, TWO))))
    assert [item.content for item in iter_corpus(message)] == [ONE]
    assert [item.path for item in iter_corpus(box)] == [f"{box}#1", f"{box}#2"]
    assert [item.content for item in iter_corpus("-", stdin=io.BytesIO(pack(ONE)))] == [ONE]


@pytest.mark.parametrize(("magic", "kind"), [(b"PK\x03\x04", "ZIP"), (b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\x07", "RAR")])
def test_an_archive_of_a_kind_not_read_is_told_and_never_taken_for_a_message(tmp_path: Path, magic: bytes, kind: str) -> None:
    path = tmp_path / "mail.archive"
    path.write_bytes(magic + b"\0" * 600)
    [item] = iter_corpus(path)
    assert f"a {kind} archive, which is not read" in str(item.error)


def test_a_maildir_is_read_without_mail_in_the_making(tmp_path: Path) -> None:
    for name in ("new/1", "cur/2:2,S", "tmp/3", ".Sent/cur/4"):
        path = tmp_path / "Maildir" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(ONE + name.encode())
    assert contents(list(iter_corpus(tmp_path / "Maildir"))) == [ONE + b"cur/2:2,S", ONE + b"new/1"]


@pytest.mark.parametrize(
    "box",
    [
        DATED + ONE + b"\n" + DATED + TWO,
        (DATED + ONE + b"\n" + DATED + TWO).replace(b"\n", b"\r\n"),
        DATED + ONE + DATED + TWO,  # no empty line before the From_ line
        b"From ???@???\n" + ONE + b"\nFrom b@example.org\n" + TWO,  # no dates
        DATED + ONE + b"\nFrom - 2024\n" + TWO,
    ],
)
def test_an_mbox_is_split_also_where_its_from_lines_are_broken(tmp_path: Path, box: bytes) -> None:
    (tmp_path / "box").write_bytes(box)
    items = list(iter_corpus(tmp_path / "box"))
    assert [item.path for item in items] == [f"{tmp_path / 'box'}#1", f"{tmp_path / 'box'}#2"]
    assert [(content or b"").replace(b"\r\n", b"\n") for content in contents(items)] == [ONE, TWO]


def test_a_sentence_that_begins_with_from_does_not_split_a_message() -> None:
    letter = ONE + b"\nFrom here on all is well.\nNote: it is.\n\nFrom Monday\nwe meet.\n"
    assert [letter] == [(DATED + letter)[start:end] for start, end in split_mbox(DATED + letter)]


def test_a_message_that_kept_its_from_line_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(DATED + ONE)
    (item,) = iter_corpus(tmp_path / "m")
    assert (item.path, item.content) == (str(tmp_path / "m"), DATED + ONE)


def test_a_trec_index_gives_order_and_labels_and_names_its_faults(tmp_path: Path) -> None:
    (tmp_path / "trec" / "full").mkdir(parents=True)
    (tmp_path / "trec" / "data").mkdir()
    (tmp_path / "trec" / "data" / "inmail.1").write_bytes(ONE)
    (tmp_path / "trec" / "data" / "inmail.2").write_bytes(TWO)
    index = tmp_path / "trec" / "full" / "index"
    index.write_text("spam ../data/inmail.2\n\nham ../data/inmail.1\nwhat\nHam ../data/inmail.3\n")
    for path in (index, tmp_path / "trec"):
        items = list(iter_corpus(path))
        assert [(item.corpus, item.label, item.content) for item in items[:2]] == [("trec", "spam", TWO), ("trec", "ham", ONE)]
        assert [item.error is not None for item in items] == [False, False, True, True]
        assert items[2].path == f"{index}:4"


def test_a_trec_archive_is_labelled_wherever_its_index_stands(tmp_path: Path) -> None:
    archive = tmp_path / "trec.tgz"
    index = b"spam ../data/inmail.1\nham ../data/inmail.2\n"
    archive.write_bytes(gzip.compress(packed(tmp_path, {"trec/data/inmail.1": ONE, "trec/full/index": index, "trec/data/inmail.2": TWO})))
    assert [(item.label, item.content) for item in iter_corpus(archive)] == [("spam", ONE), ("ham", TWO)]


def test_standard_input_is_a_message_an_mbox_or_an_archive(tmp_path: Path) -> None:
    assert [(item.path, item.content) for item in iter_corpus("-", stdin=io.BytesIO(ONE))] == [("-", ONE)]
    assert contents(list(iter_corpus("-", stdin=io.BytesIO(DATED + ONE + b"\n" + DATED + TWO)))) == [ONE, TWO]
    archive = gzip.compress(packed(tmp_path, {"mail/ham/1": ONE}))
    assert [(item.path, item.label) for item in iter_corpus("-", stdin=io.BytesIO(archive))] == [("-!mail/ham/1", "ham")]


def test_what_is_absent_or_no_file_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    labelled(tmp_path)
    os.mkfifo(tmp_path / "mail" / "ham" / "pipe")
    (tmp_path / "mail" / "spam" / "gone").symlink_to(tmp_path / "nowhere")
    items = list(iter_corpora([tmp_path / "absent", tmp_path / "mail"]))
    faults = [item for item in items if item.error is not None]
    assert len(items) - len(faults) == 3
    assert [Path(item.path).name for item in faults] == ["absent", "pipe", "gone"]
    assert all(item.error is not None and item.error.mend for item in faults)
    assert "not a regular file" in str(faults[1].error)


def test_an_unreadable_folder_does_not_stop_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labelled(tmp_path)
    real = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == "ham":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    items = list(iter_corpus(tmp_path / "mail"))
    assert [item.error is not None for item in items] == [True, False, False]
    assert "Permission denied" in str(items[0].error)


@pytest.mark.corpus
def test_an_archive_and_its_folder_hold_the_same_messages(shared: Path, corpus: Callable[[str], Path]) -> None:
    folder = {(item.label, item.content) for item in iter_corpus(corpus("foff-2025"))}
    archive = {(item.label, item.content) for item in iter_corpus(shared / "corpora" / "foff-2025.tar.zst")}
    assert folder == archive
    assert len(folder) > 290
