"""What a next hop is asked, by what it offers and what the envelope has: parameters, internationalized addresses, and what cannot go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from esa.gateway.delivery.offer import Offer, make_offer
from esa.message.envelope import Envelope, Options, RecipientOptions

ALL = {"SIZE": "50000", "8BITMIME": "", "SMTPUTF8": "", "DSN": "", "REQUIRETLS": "", "PIPELINING": ""}
ASKED = Options("HDRS", "QQ314159", "", False, (RecipientOptions("a@x.example", "SUCCESS,FAILURE", "rfc822;A+2B@x.example"),))


@dataclass
class Message:
    content: bytes = b"Subject: s\r\n\r\nx\r\n"

    @property
    def size(self) -> int:
        return len(self.content)

    def chunks(self) -> Iterator[bytes]:
        yield self.content


def offered(
    extensions: tuple[str, ...] = tuple(ALL),
    *,
    to: tuple[str, ...] = ("a@x.example",),
    reverse_path: str = "me@example.net",
    body: str = "7BIT",
    smtputf8: bool = False,
    options: Options | None = None,
    content: bytes = Message().content,
    is_secure: bool = False,
    is_local: bool = False,
) -> Offer:
    envelope = Envelope(reverse_path, to, len(content), body, smtputf8, options)
    known = {one: ALL[one] for one in extensions}
    return make_offer(envelope, to, Message(content), known, is_secure=is_secure, is_local=is_local)


def lines(offer: Offer) -> list[str]:
    return [command.decode().removesuffix("\r\n") for command in (offer.mail, *(path.command for path in offer.paths))]


def test_dsn_parameters_are_passed_to_who_knows_them_and_to_nobody_else() -> None:
    """RFC 3461 section 5.2.1."""
    two = ("a@x.example", "b@x.example")
    assert lines(offered(("DSN",), to=two, options=ASKED)) == [
        "MAIL FROM:<me@example.net> RET=HDRS ENVID=QQ314159",
        "RCPT TO:<a@x.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;A+2B@x.example",
        "RCPT TO:<b@x.example>",
    ]
    assert lines(offered((), to=two, options=ASKED)) == ["MAIL FROM:<me@example.net>", "RCPT TO:<a@x.example>", "RCPT TO:<b@x.example>"]


def test_size_and_body_are_told_where_they_are_offered() -> None:
    assert lines(offered(("SIZE", "8BITMIME"), body="8BITMIME"))[0] == "MAIL FROM:<me@example.net> SIZE=17 BODY=8BITMIME"
    assert lines(offered((), body="8BITMIME"))[0] == "MAIL FROM:<me@example.net>"


def test_domains_go_as_a_labels_where_utf8_is_not_taken() -> None:
    """RFC 6531 section 3.2 needs the extension for what is not ASCII; a domain has another form that means the same."""
    given = {"to": ("a@bücher.example", "b@x.example"), "reverse_path": "me@straße.example", "smtputf8": True}
    assert lines(offered(("SIZE",), **given)) == [  # type: ignore[arg-type]
        "MAIL FROM:<me@xn--strae-oqa.example> SIZE=17",
        "RCPT TO:<a@xn--bcher-kva.example>",
        "RCPT TO:<b@x.example>",
    ]
    assert lines(offered(("SMTPUTF8",), **given)) == [  # type: ignore[arg-type]
        "MAIL FROM:<me@straße.example> SMTPUTF8",
        "RCPT TO:<a@bücher.example>",
        "RCPT TO:<b@x.example>",
    ]


def test_a_local_part_that_is_not_ascii_fails_for_its_recipient_alone() -> None:
    offer = offered((), to=("a@x.example", "ü@x.example"), smtputf8=True)
    assert lines(offer)[1:] == ["RCPT TO:<a@x.example>"]
    assert offer.refused == {"ü@x.example": "553 5.6.7 the next hop does not offer SMTPUTF8, which this address needs"}


@pytest.mark.parametrize(
    ("given", "reply"),
    [
        ({"reverse_path": "ü@x.example", "smtputf8": True}, "553 5.6.7 "),
        ({"content": "Subject: ü\r\n\r\n".encode(), "smtputf8": True}, "554 5.6.9 "),
        ({"body": "BINARYMIME"}, "554 5.6.3 "),
        ({"content": b"x" * 50_001, "extensions": ("SIZE",)}, "552 5.3.4 "),
        ({"to": ("a@x.example", "b\r\nDATA@x.example")}, "553 5.1.3 "),
        ({"options": Options(requiretls=True), "is_secure": True}, "550 5.7.30 "),
        ({"options": Options(requiretls=True), "extensions": ("REQUIRETLS",)}, "550 5.7.30 "),
    ],
)
def test_what_a_next_hop_cannot_take_is_not_offered_and_says_why(given: dict[str, object], reply: str) -> None:
    offer = offered(**{"extensions": (), **given})  # type: ignore[arg-type]
    assert offer.paths == ()
    assert offer.refused
    assert all(one.startswith(reply) for one in offer.refused.values())


def test_a_header_in_utf8_that_nobody_declared_goes_as_it_always_did() -> None:
    assert lines(offered((), content="Subject: ü\r\n\r\n".encode())) == ["MAIL FROM:<me@example.net>", "RCPT TO:<a@x.example>"]


def test_requiretls_is_passed_on_in_tls_and_ends_on_this_machine() -> None:
    bound = Options(requiretls=True)
    assert lines(offered(("REQUIRETLS",), options=bound, is_secure=True))[0] == "MAIL FROM:<me@example.net> REQUIRETLS"
    assert lines(offered((), options=bound, is_local=True))[0] == "MAIL FROM:<me@example.net>"
