"""The mix of message filters that the benchmarks run: what administrators write, in the shares that the figures are given for, and mail to run it on.

40 % addresses and hosts, 20 % literals in the subject or another field, 20 % expressions on the text of which a tenth have no literal, 10 % attachments, 10 %
dictionaries and weights. Some fire on every message, and some on one in a hundred. Addresses are another with every message.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from esa.engine.dictionary import Dictionary
from esa.message.envelope import Envelope, Session

HIT_SHARE = 0.01  # messages that hit PLANTED filters more
ALWAYS, PLANTED = 20, 5
WITHOUT_LITERAL = 100  # the program takes no more expressions of which no text must stand there: further filters use one of these again
DICTIONARIES = 20
LISTENER = "InboundMail"
_LETTERS = "bcdfghjklmnprstvwz"


def name(chosen: random.Random, length: int = 9) -> str:
    """A word that no mail has."""
    return "q" + "".join(chosen.choices(_LETTERS, k=length))


def address_filter(chosen: random.Random, number: int) -> str:
    word = name(chosen)
    match number % 5:
        case 0:
            return f'mail-from == "^{word}@{name(chosen)}\\\\.example$"'
        case 1:
            return f'mail-from == "@{word}\\\\.example$"'
        case 2:
            return f'rcpt-to == "(?i)^{word}@"'
        case 3:
            return f'remote-ip == "10.{chosen.randrange(256)}.{chosen.randrange(256)}.0/24" and recv-listener == "InboundMail"'
        case _:
            return f'remote-ip == "{word}.example"'


def header_filter(chosen: random.Random, number: int) -> str:
    return (f'subject == "{name(chosen)}"', f'header("X-Mailer") == "{name(chosen)} [0-9]"', f'header("Received") == "by {name(chosen)}"')[
        number % 3
    ]


def without_literal(number: int) -> str:
    """Never in mail, though nothing in it must stand there: so many digits and signs behind one another."""
    return f"[0-9]{{{2 + number % 10}}}[#%]{{{2 + number // 10}}}[0-9]"


def body_filter(chosen: random.Random, number: int) -> str:
    if number % 10 == 0:
        return f'body-contains("{without_literal(number // 10 % WITHOUT_LITERAL)}")'
    first, second = name(chosen, 6), name(chosen, 6)
    return (
        f'body-contains("(?i){first}\\\\s+{second}")',
        f'only-body-contains("{first}[0-9-]*{second}")',
        f'body-contains("(?i)({first}|{second})s?\\\\s+{name(chosen)}", 2)',
    )[number % 3]


def attachment_filter(chosen: random.Random, number: int) -> str:
    return (
        f'attachment-filename == "(?i){name(chosen)}\\\\.exe$"',
        f'attachment-mimetype == "application/{name(chosen)}"',
        f"attachment-size > {20 + chosen.randrange(30)}M",
    )[number % 3]


def dictionary_filter(chosen: random.Random, number: int) -> str:
    book = number % DICTIONARIES
    return (
        f'dictionary-match("book{book}", {2 + chosen.randrange(8)})',
        f'subject-dictionary-match("book{book}", 3)',
        f'mail-from-dictionary-match("book{book}")',
    )[number % 3]


KINDS = ((40, address_filter), (20, header_filter), (20, body_filter), (10, attachment_filter), (10, dictionary_filter))


def filters_of(n: int, *, always: int, planted: Sequence[str] = (), seed: int = 3) -> str:
    """`n` filters of the mix; `always` of them fire on every message, and one for each planted text where it stands."""
    chosen = random.Random(seed)
    kinds = [kind for share, kind in KINDS for _ in range(share)]
    conditions = [kinds[number * 37 % 100](chosen, number) for number in range(n - always - len(planted))]
    conditions += [f'body-contains("{text}")' for text in planted]
    fires = ('header("From")', "body-size > 10", "rcpt-count >= 1", 'recv-listener == "InboundMail"')
    conditions += [fires[number % len(fires)] for number in range(always)]
    chosen.shuffle(conditions)
    return "\n".join(f'f{number}: if ({condition}) {{ log-entry("filter {number}"); }}' for number, condition in enumerate(conditions))


def planted_in(raws: Sequence[bytes]) -> tuple[list[bytes], list[str]]:
    """The messages, of which one in a hundred has the planted words behind its text."""
    words = [f"planted{name(random.Random(number), 6)}" for number in range(PLANTED)]
    every = round(1 / HIT_SHARE)
    tail = (" ".join(words) + "\r\n").encode()
    return [raw + tail if number % every == 0 else raw for number, raw in enumerate(raws)], words


def dictionaries() -> list[Dictionary]:
    draw = random.Random(8)
    return [Dictionary.of(f"book{number}", {name(draw): 1 + place % 9 for place in range(200)}) for number in range(DICTIONARIES)]


def visits(seed: int = 1) -> Iterator[tuple[Session, Envelope]]:
    """Sessions and envelopes without end, no address of which comes twice: two recipients of one of a hundred domains, any sender, any client."""
    chosen = random.Random(seed)
    number = 0
    while True:
        number += 1
        domain = f"host{chosen.randrange(100)}.example"
        recipients = (f"person{number}@{domain}", f"other.person{number}@{domain}")
        client = f"{chosen.randrange(11, 200)}.{chosen.randrange(256)}.{chosen.randrange(256)}.{chosen.randrange(256)}"
        sender = f"sender{number}@mail{chosen.randrange(1 << 30)}.example"
        yield Session(client_address=client, listener=LISTENER, received_at=1.8e9), Envelope(sender, recipients)
