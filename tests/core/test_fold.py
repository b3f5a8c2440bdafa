"""Folding against `unicodedata`, words in disguise, and the way back from folded text to what was written."""

from __future__ import annotations

import base64
import random
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esa_core import REGION_NAMES, Parsed, Place, fold, parse

IGNORABLE = {
    0x034F,
    0x115F,
    0x1160,
    0x17B4,
    0x17B5,
    0x3164,
    0xFFA0,
    *range(0x180B, 0x1810),
    *range(0xFE00, 0xFE10),
    *range(0xE0000, 0xE1000),
}
MARKS = "".join(chr(point) for point in range(0x300, 0x360) if point not in IGNORABLE)
WRITTEN = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)
COMBINING = st.text(
    alphabet=st.sampled_from("aeEoOuǖậạİﬁΑηωѝゕか\u3099각가\u1100\u1161\u11a8\u200b\u09c7\u09be\u0344\u0345\u1fb3 x." + MARKS), max_size=30
)


def seen(text: str) -> str:
    return "".join(character for character in text if unicodedata.category(character) != "Cf" and ord(character) not in IGNORABLE)


def reference_fold(text: str) -> str:
    """NFKC and case folding until nothing changes, without what has no width (toNFKC_Casefold of the Unicode Standard, 3.13)."""
    if len(text) > 1 and "\u0345" in unicodedata.normalize("NFD", text):  # folds to a letter, which later marks then stand on
        return unicodedata.normalize("NFC", "".join(map(reference_fold, text)))
    folded = seen(unicodedata.normalize("NFD", text))
    for _ in range(3):
        folded = seen(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", folded).casefold()))
    return folded


def plain(text: str, charset: str = "utf-8") -> Parsed:
    return parse(f"Content-Type: text/plain; charset={charset}\n\n".encode() + text.encode(charset))


# ---- folding ----


def test_every_assigned_code_point_folds_as_unicodedata_says() -> None:
    for point in range(0x110000):
        character = chr(point)
        if unicodedata.category(character) in ("Cs", "Cn", "Co") or point in IGNORABLE:
            continue
        if point < 0x3000 or point % 7 == 0 or unicodedata.normalize("NFKC", character) != character:
            assert fold(character.encode()).decode() == reference_fold(character), hex(point)


@given(st.one_of(WRITTEN, COMBINING, st.tuples(WRITTEN, COMBINING).map("".join)))
def test_texts_fold_as_unicodedata_says(text: str) -> None:
    assert fold(text.encode()).decode() == reference_fold(text)


@given(COMBINING.filter(lambda text: "\u0345" not in unicodedata.normalize("NFD", text)))
def test_composed_and_decomposed_text_fold_alike(text: str) -> None:
    assert fold(unicodedata.normalize("NFD", text).encode()) == fold(unicodedata.normalize("NFC", text).encode())


@given(st.one_of(WRITTEN, COMBINING))
def test_folding_twice_changes_nothing(text: str) -> None:
    once = fold(text.encode())
    assert fold(once) == once


@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=300))
def test_ascii_is_lowered(text: str) -> None:
    assert fold(text.encode()) == text.encode().lower()


@given(st.binary(max_size=80))
def test_octets_that_are_not_utf_8_stay(octets: bytes) -> None:
    assert fold(b"\xff" + octets + b"\xfe").startswith(b"\xff")
    assert fold(octets).decode("utf-8", "ignore") is not None


def test_zero_width_and_compatibility_forms_are_undone() -> None:
    assert fold("V\u200bＩ\u00adａＧrA\ufeff ﬁne ①".encode()).decode() == "viagra fine 1"
    assert fold(b"\xff\xe2\x82A") == b"\xff\xe2\x82a"
    assert fold(b"") == b""
    assert fold("e\u200b\u0301".encode()).decode() == "é"


def test_marks_without_a_letter_and_without_end_are_kept() -> None:
    assert fold("\u0301".encode()).decode() == "\u0301"
    heap = "a" + "\u0323\u0301" * 5000
    folded = fold(heap.encode()).decode()
    assert folded[0] == "ạ"
    assert sorted(unicodedata.normalize("NFD", folded)) == sorted(heap)


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["spamassassin", "phishing_pot"])
def test_real_mail_folds_as_unicodedata_says(corpus: Callable[[str], Path], name: str) -> None:
    paths = sorted(path for path in corpus(name).rglob("*") if path.is_file())
    texts = [parse(path.read_bytes()).text for path in random.Random(3).sample(paths, 400)]
    assert any(not text.isascii() for text in texts)
    for text in texts:
        assert fold(text.encode()).decode() == reference_fold(text)


def test_disguised_words_name_the_region_they_stand_in() -> None:
    raw = "Subject: your p\u0430ypal\r\nFrom: p\u0430ypal <a@example.net>\r\n\r\nplain\r\n".encode()
    regions = parse(raw).regions
    assert [regions[one.origin].kind for one in regions if one.kind == "disguised"] == ["subject", "from_name"]


def test_regions_are_folded_with_line_feeds_between_them() -> None:
    parsed = parse(
        b"From: Ann <ann@example.org>\nSubject: =?utf-8?q?GR=C3=9C=C3=9FE?=\nContent-Type: text/html\n\n<p>BUY<i hidden>NOT</i> NOW"
    )
    assert parsed.folded.decode() == "grüsse\nann\nann@example.org\nbuy now\nnot"


# ---- words in disguise ----


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Your p\u0430ypal account", "your paypal account"),  # Cyrillic a
        ("Your P\u0391YP\u0391L account", "your paypal account"),  # Greek capital alpha
        ("Your p\u200b\u0430\u200bypal account", "your paypal account"),
        ("Your pa\u0443p\u0430l account", "your paypal account"),
        ("\U0001f17f\U0001f170ypal account", "paypal account"),  # black squares
        ("buy v\u0456agra", "buy viagra"),
        ("buy \u1d20\u026a\u1d00\u0262\u0280\u1d00 now", "buy viagra now"),  # small capitals
        ("one two g\u043e\u043egl\u0451 three four", "two google three"),
        ("a\u0430 b c d e\u0435", "aa b\nd ee"),
        ("a\u0430 b c\u0441", "aa b cc"),
        ("a\u0430 b c d\u0501", "aa b c dd"),
    ],
)
def test_a_word_that_mixes_scripts_is_kept_in_its_plain_form_too(text: str, shown: str) -> None:
    folded = plain(text).folded.decode()
    assert folded == f"{fold(text.encode()).decode()}\n{shown}"


@pytest.mark.parametrize(
    "text",
    [
        "Привет, как дела? Wi-Fi 5G",
        "Καλημέρα σας",
        "Größe, naïve café, Łódź, sınır",
        "日本語 mail テスト",
        "mixed-привет",
        "α, β and γ",
        "µm 🇺🇸",
    ],
)
def test_text_in_one_script_is_itself(text: str) -> None:
    assert plain(text).folded.decode() == fold(text.encode()).decode()


def test_disguised_words_are_found_in_subject_and_file_names() -> None:
    raw = 'Subject: Am\u0430zon\nContent-Disposition: attachment; filename="inv\u043eice.pdf"\n\nx'.encode()
    assert parse(raw).folded.decode().splitlines()[-2:] == ["amazon", "invoice.pdf"]


# ---- back to what was written ----


def places(parsed: Parsed) -> list[tuple[bytes, Place | None]]:
    """One for each character of the folded text."""
    folded = parsed.folded
    starts = [at for at in range(len(folded)) if folded[at] & 0xC0 != 0x80]
    return [(folded[start:end], parsed.locate(start, end - start)) for start, end in pairwise([*starts, len(folded)])]


@given(st.one_of(WRITTEN, COMBINING, st.text(alphabet="aе\u0430\u0456 x1\n\u0301p", max_size=40)))
@example("Ы:0:0:0:Ы")
def test_every_folded_character_is_found_where_it_was_written(text: str) -> None:
    parsed = plain("x" + text.replace("\r", " ") + "x")
    position = 0
    for character, place in places(parsed):
        if place is None:
            assert character == b"\n"
            continue
        assert place.text or character == b"\n"  # between two stretches of disguised words
        if place.kind == "plain":
            assert character in fold(place.text.encode())
            assert position <= place.end
            position = place.start
        else:
            assert place.kind == "disguised"
        assert place.raw is not None


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-5", "koi8-r", "gb18030", "euc-jp", "iso-2022-jp", "shift_jis", "utf-7"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_match_is_found_in_the_octets_of_the_message(charset: str, ends: str) -> None:
    text = ends.join(["Первая строка", "вторая с ПРИМЕРОМ слова", "третья"])
    raw = f"Content-Type: text/plain; charset={charset}\n\n".encode() + text.encode(charset)
    parsed = parse(raw)
    wanted = "примером".encode()
    place = parsed.locate(parsed.folded.index(wanted), len(wanted))
    assert place is not None
    assert (place.kind, place.part, place.text) == ("plain", 0, "ПРИМЕРОМ")
    if charset in ("utf-7", "iso-2022-jp"):  # shifts stand in the line: the octets alone are not the text
        return
    assert place.raw is not None
    assert raw[slice(*place.raw)].decode(charset) == "ПРИМЕРОМ"


def test_places_of_a_message_with_many_parts() -> None:
    raw = (
        "Subject: =?utf-8?q?GR=C3=9CSSE?=\nContent-Type: multipart/mixed; boundary=b\n\n"
        "--b\nContent-Type: text/plain; charset=utf-8\n\nFirst Größe\n--b\nContent-Type: text/plain; charset=utf-8\n"
        "Content-Transfer-Encoding: base64\n\nU0VDT05E\n--b\nContent-Type: text/html\n\n<p>Your p&#1072;ypal <b>Account</b><i hidden>no\n--b--\n"
    ).encode()
    parsed = parse(raw)

    def found(text: str) -> Place:
        place = parsed.locate(parsed.folded.rindex(text.encode()), len(text.encode()))
        assert place is not None
        return place

    assert found("grüsse") == Place("subject", 0, 0, 7, "GRÜSSE", None)
    first = found("grösse")
    assert (first.kind, first.part, first.text) == ("plain", 1, "Größe")
    assert first.raw is not None
    assert raw[slice(*first.raw)].decode() == "Größe"
    assert found("second") == Place("plain", 2, 0, 6, "SECOND", None)
    assert (found("account").kind, found("paypal").kind, found("paypal account").text) == ("disguised", "disguised", "p\u0430ypal Account")
    assert found("no").kind == "html_hidden"
    assert parsed.locate(len(parsed.folded), 1) is None
    assert parsed.locate(2**32 - 1, 2**32 - 1) is None
    assert {found(word).kind for word in ("grüsse", "second", "no")} <= set(REGION_NAMES)


def test_a_disguised_word_is_found_letter_by_letter() -> None:
    parsed = plain("Ask: v\u0456\u0430gr\u0430 pills, ӕon\u0301\nthe p\u0430\u0301y p\u0430l")
    folded = parsed.folded
    for shown, text in (
        (b"viagra", "v\u0456\u0430gr\u0430"),
        (b"iag", "\u0456\u0430g"),
        (b"viagra pills", "v\u0456\u0430gr\u0430 pills"),
        (b"sk: vi", "sk: v\u0456"),
        (b"pay", "p\u0430\u0301y"),
        (b"ay pa", "\u0430\u0301y p\u0430"),
    ):
        place = parsed.locate(folded.rindex(shown), len(shown))
        assert place is not None
        assert (place.kind, place.text) == ("disguised", text)


def test_places_in_opened_content_count_its_octets() -> None:
    inner = "Content-Type: text/plain; charset=utf-8\n\nSome Größe".encode()
    raw = b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(inner)
    parsed = parse(raw)
    place = parsed.locate(parsed.folded.rindex("grösse".encode()), 7)
    assert place is not None
    assert parsed.parts[place.part].origin >= 0
    assert place.raw is not None
    assert inner[slice(*place.raw)].decode() == "Größe"
