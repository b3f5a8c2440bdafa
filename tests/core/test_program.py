"""One program of all patterns: what each kind matches, where it counts, and the table that says so."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa_core import PATTERN_KINDS, REGION_NAMES, UNBOUNDED, Anchor, Engine, Program, Stretch, flag_names, parse
from esa_core._image import pack, unpack

MAIL = (
    "Subject: {subject}\r\nFrom: Ann <ann@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
    '<p>{html}</p><p style="display:none">{hidden}</p>\r\n--b\r\n'
    'Content-Type: application/pdf\r\nContent-Disposition: attachment; filename="{name}"\r\n\r\nx\r\n--b--\r\n'
)


def mail(text: str = "", *, subject: str = "", html: str = "", hidden: str = "", name: str = "a.pdf") -> bytes:
    return MAIL.format(text=text, subject=subject, html=html, hidden=hidden, name=name).encode()


def table(program: Program, raw: bytes) -> list[tuple[int, str, int, int, int]]:
    return Engine(program=program).scan([raw]).table(0)


def found(kind: str, text: str, *patterns: str, cased: bool = False) -> dict[str, int]:
    counts = Engine(program=Program([pattern.encode() for pattern in patterns or ("",)], kind, cased=cased)).scan([mail(text)]).counts(0)
    return {(patterns or ("",))[pattern]: count for pattern, count in counts.items()}


# --- kinds ----------------------------------------------------------------------------------------------------------------------------


def test_text_stands_anywhere_and_words_between_boundaries() -> None:
    assert found("text", "Cheap cheaper", "cheap") == {"cheap": 2}
    assert found("words", "Cheap cheaper", "CHEAP") == {"CHEAP": 1}
    assert found("words", "act now, react now", "Act Now") == {"Act Now": 1}


def test_case_counts_where_a_pattern_says_so() -> None:
    assert found("words", "US us Us", "US", cased=True) == {"US": 1}
    assert found("words", "US us Us", "US") == {"US": 3}


def test_an_address_is_a_whole_one() -> None:
    text = "ann@example.com <Bob@Example.COM> xbob@example.com bob@example.com.au"
    assert found("address", text, "bob@example.com") == {"bob@example.com": 1}


def test_a_domain_is_itself_and_a_suffix_is_what_is_below_it_too() -> None:
    text = "example.com x@example.com www.example.com http://a.b.example.com/ myexample.com example.com.ru"
    assert found("domain", text, "example.com") == {"example.com": 2}
    assert found("suffix", text, ".example.com") == {".example.com": 4}
    assert found("suffix", text, "ru") == {"ru": 1}


def test_one_text_may_be_patterns_of_several_kinds() -> None:
    program = Program([b"ru"] * 4, ["text", "words", "suffix", "domain"])
    assert Engine(program=program).scan([mail("ru truth a.ru x@ru")]).counts(0) == {0: 4, 1: 3, 2: 2, 3: 1}


def test_white_space_between_words_is_any_white_space() -> None:
    text = "Act now, act  now, act\r\nnow,\tact \t\r\n now; react now actnow act\u00a0now act\u3000now"
    assert found("words", text, "act now") == {"act now": 6}
    assert found("text", text, "act \n now") == {"act \n now": 7}
    assert found("words", "Act\r\n  now, act now", "Act now", cased=True) == {"Act now": 1}


def test_offsets_are_of_the_text_before_its_white_space_was_joined() -> None:
    rng = random.Random(9)
    program = Engine(program=Program([b"one two", b"x"], "words"))
    for n in (0, 1, 31, 32, 33, 511, 512, 513, 1500):
        filler = "".join(rng.choice(["a", " ", "\n", "  ", "b"]) for _ in range(n))
        for gap in (" ", "  ", "\n", " " * 600):
            parsed = parse(mail(f"{filler} one{gap}two{' ' * rng.choice((1, 700))}x"))
            (region,) = (region for region in parsed.regions if region.kind == "plain")
            offsets = {row[0]: row[3] for row in program.scan([mail(region.text.decode())]).table(0)}
            assert offsets == {0: region.folded.index(b"one"), 1: region.folded.rindex(b"x")}


OFFSETS = Engine(program=Program([b"one two"], "words"))


@given(
    st.lists(st.sampled_from(["a", "bc" * 40, " ", "\n", "\t ", " " * 64, "."]), max_size=40), st.text(" \n\t", min_size=1, max_size=140)
)
def test_offsets_are_true_however_white_space_stands(filler: list[str], gap: str) -> None:
    raw = mail(f"{''.join(filler)} one{gap}two")
    (region,) = (region for region in parse(raw).regions if region.kind == "plain")
    ((_, _, _, offset, _),) = OFFSETS.scan([raw]).table(0)
    assert offset == region.folded.rindex(b"one")


def test_tables_are_the_same_without_the_wide_kernels() -> None:
    """ESA_CORE_PLAIN=1 chooses their twins; texts whose white space begins and ends at every place of a step."""
    program = r"""
import random
from esa_core import Engine, Program
rng = random.Random(4)
engine = Engine(program=Program([b"one two", b"two three four", b"x", b"six", b"o t", b"seven"]))
pieces = ["one", "two", "three", "four", "x", "six", "seven", " ", "  ", chr(10), chr(9) + " ", "." * 40, " " * 70, chr(233)]
for n in (*range(60), 200, 700):
    for _ in range(20):
        text = " ".join(rng.choices(pieces, k=n))[rng.randrange(70):]
        print(engine.scan([b"\r\n" + text.encode()]).table(0))
"""
    answers = {
        subprocess.run([sys.executable, "-c", program], env={**os.environ, "ESA_CORE_PLAIN": plain}, capture_output=True, check=True).stdout
        for plain in ("0", "1")
    }
    assert len(answers) == 1
    assert max(map(len, answers)) > 50_000


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("4111111111111111", 1),
        ("4111-1111-1111-1111 and 5500 0000 0000 0004", 2),
        ("3782.822463.10005", 1),
        ("9999 4321 9999 9999 9995 1234 5678 9000", 1),
        ("4111 1111 1111 1111 5500 0000 0000 0004", 2),
        ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", 1),
        ("４１１１ １１１１ １１１１ １１１１", 1),
        ("card:4111111111111111.", 1),
        ("4111111111111112", 0),
        ("41111111111111111111", 0),
        ("x4111111111111111", 0),
        ("1234567812345670", 0),
    ],
)
def test_card_numbers_pass_luhn_and_are_of_a_network(text: str, count: int) -> None:
    assert found("card", text).get("", 0) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("123-45-6789", 1),
        ("123.45.6789 123 45 6789", 2),
        ("(123-45-6789)", 1),
        ("123-45.6789", 0),
        ("000-45-6789 666-45-6789 900-45-6789 123-00-6789 123-45-0000", 0),
        ("1123-45-6789 123-45-67890 123-45-6789-1 1-123-45-6789", 0),
        ("123456789", 0),
    ],
)
def test_social_security_numbers_are_such_as_are_issued(text: str, count: int) -> None:
    assert found("ssn", text).get("", 0) == count


@pytest.mark.parametrize(
    ("kind", "text", "count"),
    [
        ("aba", "021000021, 011401533", 2),
        ("aba", "021000022 991000021 0210000210 000000000", 0),
        ("cusip", "037833100 17275R102 38259P508", 3),
        ("cusip", "037833101 viewpoint9 abcdefgh1", 0),
        ("iban", "GB82WEST12345698765432, DE89 3704 0044 0532 0130 00", 2),
        ("iban", "gb82-west-1234-5698-7654-32 NO9386011117947", 2),
        ("iban", "GB83WEST12345698765432 DE8937040044053201300 XX82WEST12345698765432 GB82WEST123456987654321", 0),
    ],
)
def test_bank_and_security_numbers_pass_their_checks(kind: str, text: str, count: int) -> None:
    assert found(kind, text).get("", 0) == count


def test_numbers_are_found_at_every_place_of_a_text_and_nothing_is_read_behind_it() -> None:
    engine = Engine(program=Program([b""] * 5, ["card", "ssn", "aba", "cusip", "iban"]))
    for number in ("4111111111111111", "123-45-6789", "021000021", "37833100X", "DE89370400440532013000"):
        for cut in range(len(number) + 1):
            text = number[:cut]
            counts = engine.scan([b"\r\n" + text.encode(), b"\r\n" + b"-" * cut + number.encode()])
            assert sum(counts.counts(1).values()) >= (number != "37833100X")


def test_random_digits_never_take_long_or_fail() -> None:
    rng = random.Random(1)
    engine = Engine(program=Program([b""] * 5, ["card", "ssn", "aba", "cusip", "iban"]))
    for alphabet in ("0123456789", "0123456789 -.", "ab1234 -", "de89 "):
        texts = ["".join(rng.choices(alphabet, k=rng.choice((0, 5, 31, 32, 33, 4000)))) for _ in range(60)]
        assert len(engine.scan([b"\r\n" + text.encode() for text in texts])) == 60


# --- where --------------------------------------------------------------------------------------------------------------------------


def test_the_table_says_which_pattern_stands_where_and_how_often() -> None:
    raw = mail("one two\r\none", subject="two one", html="one", hidden="three", name="one two.pdf")
    rows = table(Program([b"one", b"two", b"three"], "words"), raw)
    assert [(pattern, kind, count) for pattern, kind, _, _, count in rows] == [
        (0, "subject", 1), (0, "plain", 2), (0, "html_seen", 1), (0, "file_name", 1),
        (1, "subject", 1), (1, "plain", 1), (1, "file_name", 1),
        (2, "html_hidden", 1),
    ]  # fmt: skip
    assert [part for pattern, _, part, _, _ in rows if pattern == 0] == [0, 1, 2, 3]
    assert [offset for pattern, _, _, offset, _ in rows if pattern == 1] == [0, 4, 4]


def test_a_pattern_may_count_in_some_regions_only() -> None:
    raw = mail("word", subject="word", html="word", hidden="word", name="word.pdf")
    bits = [1 << REGION_NAMES.index(name) for name in ("subject", "file_name", "html_hidden")]
    program = Program([b"word"] * 4 + [b"Word"], "words", regions=[*bits, bits[0] | bits[1], 0xFFFF], cased=[False] * 4 + [True])
    assert Engine(program=program).scan([raw]).counts(0) == {0: 1, 1: 1, 2: 1, 3: 2}


def test_a_word_of_two_scripts_counts_once_and_its_context_is_not_counted_again() -> None:
    raw = mail("please open your p\u0430ypal account, account holder")
    rows = table(Program([b"paypal", b"account", b"your"], "words"), raw)
    assert [(pattern, kind, count) for pattern, kind, _, _, count in rows] == [(0, "disguised", 1), (1, "plain", 2), (2, "plain", 1)]
    plain_only = Program([b"paypal"], "words", regions=1 << REGION_NAMES.index("plain"))
    assert [kind for _, kind, *_ in table(plain_only, raw)] == ["disguised"]


def test_offsets_are_of_the_folded_text_of_a_region() -> None:
    raw = mail("CAFE\u0301 Stra\u00dfe Offer")
    ((_, kind, _, offset, _),) = table(Program([b"offer"]), raw)
    parsed = parse(raw)
    place = parsed.locate(parsed.folded.index(b"offer"), 5)
    assert place is not None
    assert (kind, offset) == ("plain", len("café strasse ".encode()))
    assert place.text == "Offer"


# --- limits and images ------------------------------------------------------------------------------------------------------------


def test_rows_of_a_message_are_capped_and_flagged() -> None:
    patterns = [f"{number:05}".encode() for number in range(20_000)]
    batch = Engine(program=Program(patterns)).scan([mail(" ".join(pattern.decode() for pattern in patterns)), mail("00007")])
    assert ["too_many_matches" in flag_names(int(flags)) for flags in batch.flags] == [True, False]
    assert len(batch.counts(0)) == 16_384
    assert batch.counts(1) == {7: 1}


def test_columns_are_the_rows() -> None:
    batch = Engine(program=Program([b"a", b"b"])).scan([mail("abba"), mail(""), mail("b", subject="b")])
    columns = (batch.match_terms, batch.match_kinds, batch.match_parts, batch.match_offsets, batch.match_counts)
    rows = [row for number in range(3) for row in batch.table(number)]
    assert [(term, REGION_NAMES[kind], *rest) for term, kind, *rest in zip(*(column.tolist() for column in columns), strict=True)] == rows
    assert batch.match_starts.tolist()[-1] == len(rows)


def everything() -> Program:
    texts = [b"offer", b"Act now", b"ann@example.org", b"example.org", b".org", b"Offer", *[b""] * 5]
    kinds = ["text", "words", "address", "domain", "suffix", "words", *PATTERN_KINDS[5:]]
    return Program(texts, kinds, cased=[False] * 5 + [True] + [False] * 5, note=b"version 7")


def test_an_image_is_the_program() -> None:
    program = everything()
    raw = mail("Offer: act now 4111111111111111 123-45-6789 021000021 037833100 GB82WEST12345698765432")
    copy = Program.from_image(bytes(program.image))
    assert len(Counter(row[0] for row in table(program, raw))) == program.n_patterns
    assert table(copy, raw) == table(program, raw)
    assert (bytes(copy.note), copy.n_patterns, copy.nbytes) == (b"version 7", 11, program.nbytes)


def test_a_damaged_image_is_refused() -> None:
    image = bytes(everything().image)
    rng = random.Random(3)
    for at in rng.sample(range(len(image)), 300):
        damaged = bytearray(image)
        damaged[at] ^= 1 << rng.randrange(8)
        with pytest.raises(ValueError, match=r"octet \d+: "):
            Program.from_image(bytes(damaged))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (([b"x"], "regex"), "no kind of pattern is called 'regex': text, words"),
        (([b"x", b"y"], ["text"]), "2 patterns, but 1 answers"),
        (([b"x" * 5000], "text"), "term 0 has 5000 bytes"),
    ],
)
def test_odd_patterns_are_refused(arguments: tuple[Sequence[bytes], Sequence[str] | str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Program(*arguments)


def test_no_patterns_match_nothing() -> None:
    assert table(Program([]), mail("anything")) == []
    assert table(Program([b"", "\u200b".encode()]), mail("anything")) == []


# --- images -------------------------------------------------------------------------------------------------------------------------


ALL = (1 << 256) - 1
SPACES = 1 << 32 | 1 << 10
DIGITS = sum(1 << octet for octet in b"0123456789")
ANYTHING, BLANK = Stretch(0, UNBOUNDED, ALL), Stretch(1, 9, SPACES)
ANCHORS = [
    Anchor(0, False, 0xFFFF, True, (b"needle", b"pin"), (), 0, BLANK, (b"hay", b"straw"), BLANK, (b"stack",), ANYTHING, ANYTHING),
    Anchor(3, True, 0xFFFF, True, (b"Needle",), (), 0, BLANK, (), BLANK, (), BLANK, BLANK),
    Anchor(4, False, 1 << REGION_NAMES.index("plain"), False, (b"needle",), (), 0, BLANK, (), BLANK, (), BLANK, BLANK),
    Anchor(1, False, 0xFFFF, True, (), (DIGITS,) * 3 + (1 << ord("-"),) + (DIGITS,) * 4, 2, BLANK, (), BLANK, (), ANYTHING, BLANK),
    Anchor(2, True, 0xFFFF, True, (), (1 << ord("S"), 1 << ord("t")), 0, BLANK, (), BLANK, (), BLANK, BLANK),
    Anchor(5, True, 0xFFFF, False, (), (DIGITS,), 0, BLANK, (), BLANK, (), BLANK, BLANK),
]
WITH_ANCHORS = ([b"", b"hay", b"Stack", b"", b"", b""], ["text", "words", "text", "text", "text", "card"])


def with_anchors() -> Program:
    return Program(*WITH_ANCHORS, cased=[False, False, True, False, False, False], anchors=ANCHORS, note=b"note")


def test_windows_reach_from_where_a_match_may_begin_to_where_it_may_end() -> None:
    text = "hay  needle\n stack. Hay-needle stack  Needle  "
    batch = Engine(program=with_anchors()).scan([mail(text), mail(html="pin"), mail("needle")])
    (plain,) = (number for number, region in enumerate(parse(mail("x")).regions) if region.kind == "plain")
    assert batch.windows(0) == [(0, plain, 0, len(text)), (3, plain, text.index("  Needle"), len(text)), (4, plain, 0, UNBOUNDED)]
    assert batch.windows(1) == []
    assert batch.windows(2) == [(4, plain, 0, UNBOUNDED)]
    with pytest.raises(IndexError):
        batch.windows(3)


def test_octets_of_sets_side_by_side_wake_too_up_to_the_end_of_a_text() -> None:
    for text, windows in (
        ("", []),
        ("5", []),
        ("x St", [(2, 1, 4)]),
        ("555-123", []),
        ("  555-1234", [(1, 0, 10)]),
        ("s 555-1234 \n St", [(1, 0, 13), (2, 10, 15)]),
    ):
        found = [
            (pattern, start, end)
            for pattern, _, start, end in Engine(program=with_anchors()).scan([mail(text)]).windows(0)
            if pattern in (1, 2)
        ]
        assert found == windows


def test_the_text_of_a_message_with_windows_is_kept() -> None:
    raws = [mail("nothing"), mail("a p\u0430ypal needle", html="<b>x</b>"), b"", b"\r\n", mail("needle " + "x" * 9_000_000), mail("needle")]
    batch = Engine(program=with_anchors()).scan(raws)
    assert [batch.regions(row) for row in range(6)] == [None, parse(raws[1]).regions, None, None, None, parse(raws[5]).regions]
    assert len(batch.windows(4)) == 1  # too long to keep
    batch = Engine(program=Program([b""], keeps=True)).scan(raws[:4])
    assert [batch.regions(row) or [] for row in range(4)] == [parse(raw).regions for raw in raws[:4]]


def test_a_text_that_stands_everywhere_has_few_windows() -> None:
    (window,) = Engine(program=Program([b""], anchors=[ANCHORS[1]._replace(pattern=0)])).scan([mail(" Needle" * 100_000)]).windows(0)
    assert window[2] == 0


def test_too_much_to_look_at_is_told() -> None:
    anchor = ANCHORS[0]._replace(literals=(b"pin",), before=ANYTHING, tails=())
    batch = Engine(program=Program([b""] * 100, anchors=[anchor._replace(pattern=number) for number in range(100)])).scan(
        [mail("pin " * 100_000)]
    )
    assert "too_many_matches" in flag_names(int(batch.flags[0]))


def test_an_image_of_a_program_whose_numbers_lead_astray_is_refused_or_harmless() -> None:
    """Its checksum is right. Sections are damaged, cut off, emptied and left out: what is followed stays in them."""
    sections = unpack(with_anchors().image)
    raws = [mail("hay needle stack Needle hay straw pin stack 4111 1111 1111 1111 Stack 555-1234" * 3, html="hay"), mail("needle")]
    rng = random.Random(6)
    refused = 0
    for name in sections:
        for trial in range(60):
            forged = {key: np.array(array) for key, array in sections.items()}
            if trial == 0:
                del forged[name]
            elif trial == 1:
                forged[name] = forged[name][:0]
            elif forged[name].size and rng.random() < 0.8:
                at = rng.randrange(forged[name].size)
                forged[name][at : at + rng.choice((1, 4))] = rng.choice((0, 1, 2, 127, 255))
            else:
                forged[name] = forged[name][: rng.randrange(forged[name].size + 1)]
            try:
                batch = Engine(program=Program.from_image(pack(forged).tobytes())).scan(raws)
            except ValueError as error:
                assert str(error).startswith("section ")
                refused += 1
            else:
                assert all(len(batch.windows(row)) + len(batch.table(row)) < 100 for row in range(2))
    assert refused > 200
