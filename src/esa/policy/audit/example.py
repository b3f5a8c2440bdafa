"""A message for which a filter acts, made from what was thought up of it, and tried: one for which it does not act is none.

Called by `esa filters audit --example`. Facts that no message of ours can be made to have (a client certificate, a picture) make no example; that says
nothing of the filter.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.header import Header

from esa.engine.scanner import Scanner
from esa.message.envelope import Envelope, Session
from esa.policy.audit.facts import Fact
from esa.policy.audit.meaning import V6
from esa.policy.audit.solving import World
from esa.policy.filters.plan import FilterPlan
from esa.policy.view import View

LARGEST = 64 << 20  # octets of an example: a filter for more is not tried
_LINE = 998  # RFC 5322 section 2.1.1
_TIMES_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Example:
    """A message and what comes with it."""

    session: Session
    envelope: Envelope
    raw: bytes
    sender_group: str = ""
    remote_host: str = ""
    interface: str = ""
    reputation: float | None = None
    dns_lists: frozenset[str] = frozenset()
    queue_length: int | None = None

    def view(self, scanner: Scanner) -> View:
        report = scanner.scan(self.raw)
        return View(
            self.raw,
            self.session,
            self.envelope,
            report,
            lookup=scanner.lookup,
            sender_group=self.sender_group,
            remote_host=self.remote_host,
            interface=self.interface,
            reputation=self.reputation,
            dns_lists=self.dns_lists,
            queue_length=self.queue_length,
            groups={},
            identifier="example",
        )


def example_of(world: World, name: str, plan: FilterPlan, scanner: Scanner) -> Example | None:
    """The message, if the filter called `name` really acts for it when all filters of the plan run."""
    made = _make(world)
    if made is None:
        return None
    outcome = plan.run(made.view(scanner))
    return made if any(step.filter == name for step in outcome.trail) else None


def written(example: Example) -> str:
    """The message with its envelope above it, in lines that begin with X-: a file that any mail program opens."""
    session, envelope = example.session, example.envelope
    lines = [f"X-Envelope-From: <{envelope.reverse_path}>", *(f"X-Envelope-To: <{one}>" for one in envelope.recipients)]
    lines += [f"X-Client: {session.client_address} {example.remote_host}".rstrip(), f"X-Listener: {session.listener}"]
    lines += [f"X-Sender-Group: {example.sender_group}"] if example.sender_group else []
    lines += [f"X-Reputation: {example.reputation}"] if example.reputation is not None else []
    return "\r\n".join(lines) + "\r\n" + example.raw.decode("utf-8", "replace")


def _make(world: World) -> Example | None:
    facts = {fact.name: fact for fact in world.given}

    def text(name: str, usual: str) -> str:
        value = world.given.get(facts[name]) if name in facts else usual
        return value if isinstance(value, str) else usual

    def number(name: str) -> float | None:
        value = world.given.get(facts[name]) if name in facts else None
        return value if isinstance(value, (int, float)) else None  # no float of an address: it has too many digits

    recipients = world.given.get(facts["rcpt-to"]) if "rcpt-to" in facts else None
    people = [recipients] if isinstance(recipients, str) else [str(one) for one in recipients] if isinstance(recipients, tuple) else []
    wanted = int(number("rcpt-count") or max(1, len(people)))
    if len(people) > wanted or wanted > _TIMES_MOST:
        return None
    people += [f"anyone{n}@here.example" for n in range(wanted - len(people))]
    client = number("client")
    address = _address(client) if client is not None else "" if "client" in facts else "198.51.100.7"
    sender = text("mail-from", "someone@elsewhere.example")
    raw = _message(world, facts, int(number("body-size") or 0))
    if raw is None:
        return None
    waiting = number("workqueue-count")
    listed = frozenset(
        name.removeprefix("dnslist ") for name, fact in facts.items() if name.startswith("dnslist ") and world.given[fact] == 1
    )
    return Example(
        Session(client_address=address, listener=text("listener", "mail"), received_at=number("date") or 0.0),
        Envelope(sender, tuple(people), len(raw)),
        raw,
        text("sender group", "UNKNOWNLIST"),
        text("remote host", ""),
        text("interface", ""),
        number("reputation"),
        listed,
        None if waiting is None else int(waiting),
    )


def _address(number: float) -> str:
    value = int(number)
    return str(ipaddress.IPv6Address(value - V6) if value >= V6 else ipaddress.IPv4Address(value))


def _message(world: World, facts: dict[str, Fact], size: int) -> bytes | None:
    fields: list[tuple[str, str]] = []
    subjects = _texts(world, facts, ("subject, written", "subject, folded", "Subject, decoded"))
    fields += [("Subject", one) for one in subjects]
    for name, fact in facts.items():
        if name.startswith("header:") and not fact.version:
            fields += [(name.removeprefix("header:").title(), one) for one in _texts(world, facts, (name,))]
    for name, usual in (("From", "someone@elsewhere.example"), ("To", "anyone@here.example"), ("Subject", "Hello")):
        if name not in {field for field, _ in fields}:
            fields.append((name, usual))
    if any("\r" in value or "\n" in value for _, value in fields):
        return None
    head = "".join(f"{name}: {_encoded(value)}\r\n" for name, value in fields)
    body = "".join(f"{line}\r\n" for line in _lines(world, facts))
    attached = list(_attached(world, facts))
    if not attached:
        return _padded(f"{head}Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{body}".encode(), size)
    parts = [f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{body}", *attached]
    whole = "".join(f"--edge\r\n{part}\r\n" for part in parts)
    return _padded(f"{head}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=edge\r\n\r\n{whole}--edge--\r\n".encode(), size)


def _texts(world: World, facts: dict[str, Fact], names: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        value = world.given.get(facts[name]) if name in facts else None
        found += [value] if isinstance(value, str) else [one for one in value if isinstance(one, str)] if isinstance(value, tuple) else []
    return list(dict.fromkeys(found))


def _encoded(value: str) -> str:
    return value if value.isascii() else Header(value, "utf-8", maxlinelen=_LINE).encode()


def _lines(world: World, facts: dict[str, Fact]) -> Iterator[str]:
    """The text: what must stand there, as often as it must."""
    times = 1
    for fact, value in world.given.items():
        if fact.name.startswith(("matches of ", "only-body-contains ")) and isinstance(value, (int, float)):
            times = max(times, min(int(value), _TIMES_MOST))
    for text in _texts(world, facts, ("text, written", "text, folded")):
        yield from [text] * times


def _attached(world: World, facts: dict[str, Fact]) -> Iterator[str]:
    names = _texts(world, facts, ("file name, written", "file name, folded", "file name, decoded"))
    types = _texts(world, facts, ("media type",))
    sizes = world.given.get(facts["attachment-size"]) if "attachment-size" in facts else None
    octets = max([int(one) for one in sizes if isinstance(one, (int, float))], default=0) if isinstance(sizes, tuple) else 0
    for number in range(max(len(names), len(types), 1 if octets else 0)):
        name = names[number] if number < len(names) else f"file{number}.bin"
        kind = types[number] if number < len(types) else "application/octet-stream"
        content = "x" * 76 + "\r\n"
        body = (content * (octets // len(content) + 1))[:octets] if not number and octets <= LARGEST else "x\r\n"
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        yield f'Content-Type: {kind}\r\nContent-Disposition: attachment; filename="{quoted}"\r\n\r\n{body}'


def _padded(raw: bytes, size: int) -> bytes | None:
    """With lines behind it up to so many octets."""
    missing = size - len(raw)
    if missing <= 0:
        return raw
    if size > LARGEST:
        return None
    line = b"." * 76 + b"\r\n"
    return raw + (line * (missing // len(line) + 1))[:missing]
