"""The tables of bounces: profiles, limits, and bounce verification. `schema` puts them into the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from email.utils import parseaddr
from types import MappingProxyType
from typing import Annotated, Literal, Protocol

from pydantic import AfterValidator, Field

from esa.config.values import DAY, HOUR, KIB, MIB, MINUTE, Duration, Name, Size, Table, Texts, fault
from esa.errors import SyntaxFault
from esa.message.address import Address
from esa.policy.bounce_profile import DEFAULT, BounceProfile, Kind, Letter, RetrySchedule
from esa.policy.bounce_verification import Exceptions, parse_exception

_USUAL = BounceProfile()


def _mailbox(value: str) -> str:
    if not value:
        return value
    _, address = parseaddr(value)
    try:
        Address.parse(address)
    except SyntaxFault as wrong:
        raise fault(f"{value!r} is no mailbox ({wrong.what})", 'write "Mail Team <mail@example.org>", or the address alone') from wrong
    if not value.isprintable():
        raise fault(f"{value!r} holds a line break or a control character", "write one line")
    return value


def _address(value: str) -> str:
    try:
        return str(Address.parse(value)) if value else value
    except SyntaxFault as wrong:
        raise fault(f"{value!r} is no address ({wrong.what})", "write user@example.org") from wrong


def _subject(value: str) -> str:
    if not value.isprintable():
        raise fault("a subject is one line", "leave line breaks and control characters out")
    return value


def _text(value: str) -> str:
    if not all(one.isprintable() or one in "\n\t" for one in value):
        raise fault("the text holds control characters", "write lines of text")
    return value


def _exception(value: str) -> str:
    try:
        return parse_exception(value)
    except SyntaxFault as wrong:
        raise fault(wrong.what, wrong.mend or "") from wrong


Mailbox = Annotated[str, AfterValidator(_mailbox)]
Subject = Annotated[str, AfterValidator(_subject), Field(max_length=200)]
Text = Annotated[str, AfterValidator(_text), Field(max_length=10_000)]
_WORDS = "Variables: $Hostname, $Recipients, $Subject, $Date, $RetryUntil, $EnvelopeSender, $MID."


class BounceProfileTable(Table):
    """When mail is tried again and given up, and who is told: chosen by a filter, a [[destination]] or a listener; Default holds else."""

    name: Name = Field(default=DEFAULT, description="Its name. Default: the one that holds where none is chosen.")
    initial_retry: Duration = Field(
        default=0.0, ge=0, le=DAY, description="Wait before the second attempt. 0 s: as [delivery] retry_initial."
    )
    max_retry: Duration = Field(default=0.0, ge=0, le=DAY, description="Longest wait between two attempts. 0 s: as [delivery] retry_max.")
    max_time_in_queue: Duration = Field(
        default=0.0, ge=0, le=60 * DAY, description="Age at which mail is given up. 0 s: as [delivery] expire."
    )
    max_retries: int = Field(default=100, ge=0, le=10_000, description="Attempts after the first; then mail is given up.")
    send_hard_bounces: bool = Field(
        default=True,
        description="Whether senders are told of mail that is given up. false: it is kept as failed, until somebody retries or deletes it.",
    )
    delay_warnings: bool = Field(default=False, description="Whether senders are told of mail that waits.")
    delay_interval: Duration = Field(default=4 * HOUR, ge=1, le=30 * DAY, description="Wait before such a warning, and before the next.")
    delay_count: int = Field(default=1, ge=1, le=100, description="Most warnings of one message.")
    format: Literal["dsn", "text"] = Field(
        default="dsn", description='"dsn": people and programs can read it (RFC 3464); "text": people only.'
    )
    sender: Mailbox = Field(
        default="", description="Who bounces are from. Empty: MAILER-DAEMON at the host name. Their return path is null."
    )
    alternate_address: Annotated[str, AfterValidator(_address)] = Field(
        default="", description="Address that is told in the place of the sender, of mail with a null return path too. Empty: the sender."
    )
    max_copy: Size = Field(
        default=10 * KIB,
        ge=KIB,
        le=25 * MIB,
        description="Longest message that is returned whole, if its sender asks for it; else its header.",
    )
    bounce_subject: Subject = Field(default="", description=f"Subject of bounces. Empty: the usual one. {_WORDS}")
    bounce_text: Text = Field(default="", description=f"Text of bounces. Empty: the usual one. {_WORDS}")
    delay_subject: Subject = Field(default="", description=f"Subject of warnings, likewise. {_WORDS}")
    delay_text: Text = Field(default="", description=f"Text of warnings, likewise. {_WORDS}")


class Bounces(Table):
    """Bounds of what senders are told, against storms. Past them a bounce waits."""

    per_hour: int = Field(default=10_000, ge=0, description="Most bounces and warnings in an hour. 0: any number.")
    per_address_per_hour: int = Field(default=100, ge=0, description="Most of them to one address. 0: any number.")
    wait: Duration = Field(
        default=5 * DAY, ge=MINUTE, le=30 * DAY, description="How long a bounce may wait; then it is let go, and told in log and tracking."
    )


class BounceVerification(Table):
    """Return paths of mail that leaves are tagged where a [[destination]] says so; bounces come back to tagged addresses or are no bounces."""

    enabled: bool = Field(
        default=False,
        description="Whether mail with a null return path has to be for a tagged address. Tag first, and switch this on a week later.",
    )
    action: Literal["reject", "header"] = Field(
        default="reject", description='What becomes of other bounces: 550 ("reject"), or taken with a header field ("header").'
    )
    header: str = Field(
        default="X-Bounce-Verification: invalid", max_length=200, description="That header field: its name, a colon and its text."
    )
    keys: str = Field(
        default="bounce-verification.keys",
        min_length=1,
        description="File of the keys, readable by this user only; esa bounce-verification new makes one. Relative to the state folder.",
    )
    exempt: Annotated[Texts, AfterValidator(lambda value: tuple(map(_exception, value)))] = Field(
        default=(),
        description="Addresses that are neither tagged nor asked for a tag: user@example.org, example.org, .example.org (all domains below it).",
    )


class Times(Protocol):
    """What profiles take from `[delivery]`."""

    retry_initial: float
    retry_max: float
    expire: float


def profiles_of(tables: Sequence[BounceProfileTable], times: Times) -> dict[str, BounceProfile]:
    """Profiles by name; Default among them."""
    made = {table.name: _profile(table, times) for table in tables}
    if DEFAULT not in made:
        made[DEFAULT] = _profile(BounceProfileTable(), times)
    return made


def _schedule(table: BounceProfileTable, times: Times) -> RetrySchedule:
    return RetrySchedule(
        table.initial_retry or times.retry_initial,
        table.max_retry or times.retry_max,
        table.max_time_in_queue or times.expire,
        table.max_retries,
    )


def _profile(table: BounceProfileTable, times: Times) -> BounceProfile:
    letters: dict[Kind, Letter] = {
        "failed": Letter(table.bounce_subject, table.bounce_text),
        "delayed": Letter(table.delay_subject, table.delay_text),
    }
    return BounceProfile(
        table.name,
        _schedule(table, times),
        table.send_hard_bounces,
        table.delay_warnings,
        table.delay_interval,
        table.delay_count,
        table.format == "dsn",
        table.sender,
        table.alternate_address,
        table.max_copy,
        MappingProxyType({kind: letter for kind, letter in letters.items() if letter != Letter()}),
    )


def exceptions_of(table: BounceVerification) -> Exceptions:
    return Exceptions(table.exempt)


Place = tuple[str | int, ...]


def contradictions_of_verification(table: BounceVerification, *, tags: bool) -> Iterator[tuple[Place, str, str]]:
    """As `contradictions_of`. `tags`: some destination gets return paths with tags."""
    if table.enabled and not tags:
        what = "all bounces would be refused: no [[destination]] gets return paths with a tag"
        mend = 'write bounce_verification = true into a [[destination]], with domains = ["ALL"] for all mail, and enable this a week later'
        yield ("bounce_verification", "enabled"), what, mend
    name, colon, text = table.header.partition(":")
    if not (colon and text.strip() and name.isascii() and name.isprintable() and name and " " not in name and text.isprintable()):
        what = f"{table.header!r} is no header field"
        yield ("bounce_verification", "header"), what, 'write its name, a colon and its text, as "X-Bounce-Verification: invalid"'


def contradictions_of(
    profiles: Sequence[BounceProfileTable], named: Iterable[tuple[Place, str]], times: Times
) -> Iterator[tuple[Place, str, str]]:
    """What cannot stand together, as (place, what, mend). `named`: places that name a profile, with the name; empty ones name none."""
    seen: set[str] = {DEFAULT}
    for number, table in enumerate(profiles):
        place: Place = ("bounce_profile", number)
        if table.name in seen and (table.name != DEFAULT or any(other.name == DEFAULT for other in profiles[:number])):
            yield (*place, "name"), f"two bounce profiles are called {table.name!r}", "give each its own name"
        seen.add(table.name)
        schedule = _schedule(table, times)
        if not schedule.initial <= schedule.maximum <= schedule.expire:
            what = (
                f"the waits are out of order: {schedule.initial:g} s, at most {schedule.maximum:g} s, given up after {schedule.expire:g} s"
            )
            yield (*place, "initial_retry"), what, "choose initial_retry at most max_retry, and max_retry at most max_time_in_queue"
        if table.delay_warnings and table.delay_interval >= schedule.expire:
            what = "mail is given up before a warning is due"
            yield (*place, "delay_interval"), what, "choose delay_interval under max_time_in_queue, or leave delay_warnings out"
    for place, name in named:
        if name and name not in seen:
            yield place, f"no bounce profile is called {name!r}", f"choose one of {', '.join(sorted(seen))}, or add a [[bounce_profile]]"
