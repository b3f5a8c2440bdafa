"""What decoding and folding of text costs, beside Python's codecs and `unicodedata` on the same octets.

    python benchmarks/text.py [--rounds 9] [--write]

GB per CPU second of input, the best round; core and Python alternate in every round. Texts are sentences of the benchmark's own, repeated to
about 256 KB. The core's figures for character sets include its search for links and the joining of line ends; those of transfer encodings
the copy into a bytes object, as Python's do. Bars are those of issue 3's text room. Exit 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import base64
import quopri
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from results import table, write_section

from esa_core import fold, parse

SIZE = 256_000
ENGLISH = "Please find enclosed the minutes of our meeting; the next one is on Monday at ten. Kind regards\n"
GERMAN = "Größere Änderungen müssen wir früher wissen, schöne Grüße aus Köln und bis nächste Woche.\n"
RUSSIAN = "Здравствуйте, уважаемые коллеги! Сегодня мы обсудим план работ на следующий месяц.\n"
GREEK = "Καλημέρα σας, αυτό είναι ένα δοκιμαστικό μήνυμα για την αυριανή μας συνάντηση.\n"
VIETNAMESE = "Tiếng Việt là ngôn ngữ của người Việt và là ngôn ngữ chính thức tại Việt Nam.\n"
CHINESE = "您好，会议记录请见附件，下次会议定于星期一上午十点举行，谢谢大家的参与。\n"
TAIWANESE = "您好，會議記錄請見附件，下次會議定於星期一上午十點舉行，謝謝大家的參與。\n"
JAPANESE = "お世話になっております。会議の議事録を添付いたします。よろしくお願いします。\n"
KOREAN = "안녕하세요, 회의록을 첨부합니다. 다음 회의는 월요일 오전 열 시입니다.\n"
DISGUISED = "Your p\u0430yp\u0430l account is l\u0456mited, please verify it with us today.\n"

Case = tuple[str, int, Callable[[], float], Callable[[], float], float]


def timed(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


def repeated(text: str) -> str:
    return text * (SIZE // len(text.encode()) + 1)


def fold_case(name: str, text: str, bar: float) -> Case:
    text = repeated(text)
    octets = text.encode()
    return (
        f"fold {name}",
        len(octets),
        lambda: timed(lambda: fold(octets)),
        lambda: timed(lambda: unicodedata.normalize("NFKC", octets.decode().casefold()).encode()),
        bar,
    )


def disguise_case() -> Case:
    """The whole of it: the text as written and, beside it, the plain form with its context."""
    octets = repeated(DISGUISED).encode()
    raw = b"Content-Type: text/plain; charset=utf-8\n\n" + octets

    def ours() -> float:
        parsed = parse(raw)
        assert parsed.subject == ""  # decoded
        return timed(lambda: parsed.folded)

    return (
        "fold mixed scripts, with the plain form",
        len(octets),
        ours,
        lambda: timed(lambda: unicodedata.normalize("NFKC", octets.decode().casefold()).encode()),
        0.0,
    )


def charset_case(charset: str, text: str, bar: float, name: str = "") -> Case:
    octets = repeated(text).encode(charset)
    raw = f"Content-Type: text/plain; charset={charset}\n\n".encode() + octets

    def ours() -> float:
        parsed = parse(raw)
        return timed(lambda: parsed.subject)  # all texts are decoded at the first question

    return f"decode {charset} {name}".strip(), len(octets), ours, lambda: timed(lambda: octets.decode(charset).encode()), bar


def transfer_case(encoding: str, name: str, written: bytes, python: Callable[[bytes], bytes]) -> Case:
    part = parse(f"Content-Type: image/x\nContent-Transfer-Encoding: {encoding}\n\n".encode() + written).parts[0]
    return f"{encoding} {name}", len(written), lambda: timed(part.content), lambda: timed(lambda: python(written)), 1.0


def cases() -> list[Case]:
    octets = repeated(RUSSIAN).encode()
    return [
        fold_case("ASCII", ENGLISH, 5.0),
        *(fold_case(name, text, 0.4) for name, text in (("German", GERMAN), ("Russian", RUSSIAN), ("Greek", GREEK), ("Chinese", CHINESE))),
        fold_case("Vietnamese", VIETNAMESE, 0.4),
        fold_case("mixed scripts", DISGUISED, 0.4),
        fold_case("Vietnamese, letters and marks apart", unicodedata.normalize("NFD", VIETNAMESE), 0.0),
        disguise_case(),
        charset_case("us-ascii", ENGLISH, 2.0),
        *(charset_case("utf-8", text, 2.0, name) for name, text in (("German", GERMAN), ("Russian", RUSSIAN), ("Chinese", CHINESE))),
        charset_case("iso-8859-15", GERMAN, 0.4),
        charset_case("windows-1251", RUSSIAN, 0.4),
        charset_case("koi8-r", RUSSIAN, 0.4),
        charset_case("gb18030", CHINESE, 0.4),
        charset_case("big5", TAIWANESE, 0.4),
        charset_case("shift_jis", JAPANESE, 0.4),
        charset_case("euc-jp", JAPANESE, 0.4),
        charset_case("iso-2022-jp", JAPANESE, 0.4),
        charset_case("euc-kr", KOREAN, 0.4),
        charset_case("utf-16le", CHINESE, 0.4),
        transfer_case("base64", "in lines", base64.encodebytes(octets), base64.decodebytes),
        transfer_case("quoted-printable", "German", quopri.encodestring(repeated(GERMAN).encode()), quopri.decodestring),
        transfer_case("quoted-printable", "Russian", quopri.encodestring(octets), quopri.decodestring),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Speed of decoding and folding beside Python's.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true", help="write the section of RESULTS.md")
    options = parser.parse_args()
    rows, missed = [], []
    for name, size, ours, python, bar in cases():
        best = [9e9, 9e9]
        for _ in range(options.rounds):
            best = [min(best[0], ours()), min(best[1], python())]
        speed, theirs = (size / seconds / 1e9 for seconds in best)
        if speed < bar:
            missed.append(name)
        rows.append((name, f"{speed:.2f}", f"{theirs:.3f}", f"{speed / theirs:.1f}", f"{bar:g}" if bar else "-"))
    text = table(("what", "core, GB/s", "Python, GB/s", "times as fast", "bar"), rows)
    text += f"\n\nBars {'missed: ' + ', '.join(missed) if missed else 'met'}. Python folds by `normalize('NFKC', casefold())`, which drops nothing."
    print(text)
    if options.write:
        write_section("text", text, title="Decoding and folding beside Python's codecs")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
