"""Every setting once: its type, unit, default, and the sentence that explains it.

`load` reads it, `text` writes it, all rooms above use it. Values are frozen. What a file gives is checked as a whole: a value of the wrong
type is never bent into shape, an unknown key is a fault, and what only makes sense together (thresholds in order, no open relay) is checked
here too, so that a Configuration that exists can be served.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from itertools import starmap
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from esa.config import units
from esa.config.bounces import BounceProfileTable, Bounces, BounceVerification, contradictions_of_verification
from esa.config.bounces import contradictions_of as contradictions_of_bounces
from esa.config.ciphers import DEFAULT as DEFAULT_CIPHERS
from esa.config.ciphers import PROFILES, Version, lint
from esa.config.content_filters import ContentFilter
from esa.config.content_filters import contradictions_of as contradictions_of_content_filters
from esa.config.delivery_tls import DeliveryTls, contradictions_of_delivery_tls
from esa.config.destinations import DeliveryInterface, DestinationTable, SmtpRouteTable, routes_of, unknown_interfaces
from esa.config.destinations import contradictions_of as contradictions_of_destinations
from esa.config.destinations import route as delivery_route
from esa.config.dkim import DkimKey, contradictions_of_dkim
from esa.config.filters import Filters
from esa.config.groups import GroupLdap
from esa.config.groups import contradictions_of as contradictions_of_groups
from esa.config.policies import MailPolicy, groups_named
from esa.config.policies import contradictions_of as contradictions_of_policies
from esa.config.recipient_access import RecipientAccess, accepts_everyone
from esa.config.recipient_access import contradictions_of as contradictions_of_recipients
from esa.config.recipient_sources import RecipientCallAhead, RecipientFile, RecipientLdap, RecipientSource, RecipientSql
from esa.config.recipient_sources import contradictions_of as contradictions_of_sources
from esa.config.recorder import Recorder
from esa.config.relays import IncomingRelay
from esa.config.relays import contradictions_of as contradictions_of_relays
from esa.config.reputation import DnsList, Reputation, repeated_zones
from esa.config.sender_groups import SHIPPED_GROUPS, MailFlowPolicies, Offered, SenderGroup, contradictions_of, shipped_policies
from esa.config.users import Authentication, UserLdap
from esa.config.users import contradictions_of as contradictions_of_users
from esa.config.values import (
    DAY,
    DISCARD,
    HOUR,
    KIB,
    LARGEST_MESSAGE,
    MIB,
    MINUTE,
    Domain,
    Duration,
    Name,
    Size,
    Table,
    Texts,
    domain,
    fault,
    split_route,
)
from esa.errors import SyntaxFault
from esa.policy.smtp_routes import TO_MAILDIR, RouteKind, SmtpRoute, parse_route


def _address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError as wrong:
        raise fault(f"{value!r} is no IP address", 'write an address of this machine, as "127.0.0.1", "0.0.0.0" or "::"') from wrong


def _hostname(value: str) -> str:
    return domain(value) if value else value


def _name_server(value: str) -> str:
    host, port = split_route(value) or (value.removeprefix("[").removesuffix("]"), 53)
    try:
        return f"[{ipaddress.ip_address(host)}]:{port}" if ":" in host else f"{ipaddress.ip_address(host)}:{port}"
    except ValueError as wrong:
        raise fault(f"{value!r} is no name server", 'write its IP address, as "192.0.2.53" or "[2001:db8::53]:5353"') from wrong


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as wrong:
        raise fault(f"{value!r} is no network", 'write one as "192.0.2.0/24", "2001:db8::/32" or "192.0.2.7"') from wrong


def _ciphers(value: str) -> str:
    refused = [finding for finding in lint(value) if finding.refused]
    if refused:
        what = f"this cipher policy is refused at {refused[0].word}: {refused[0].reason}"
        raise fault(what, f"choose a profile ({', '.join(PROFILES)}), or name ciphers with forward secrecy, as ECDHE+AESGCM")
    return value


def _minimum(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"(?i)ssl.*|tlsv?1(?:[._][01])?", value):
        raise fault(
            f"{value} is not spoken: SSL is broken by anyone who listens (RFC 6176, 7568), TLS 1.0 and 1.1 are abandoned (RFC 8996)",
            'write "TLSv1.2" or "TLSv1.3"; a peer that speaks neither is better served without TLS, where tls = "preferred" allows it',
        )
    return value


Address = Annotated[str, AfterValidator(_address)]


class Gateway(Table):
    """The gateway as a whole."""

    hostname: Annotated[str, AfterValidator(_hostname)] = Field(
        default="", description="Name it greets with and writes into Received fields. Empty: the name of the machine."
    )
    state: str = Field(
        default="state", min_length=1, description="Folder of all state: spool, queue, quarantine, tracking. Relative to this file."
    )
    workers: int = Field(default=0, ge=0, le=256, description="Receiving processes. 0: one for each processor.")
    drain: Duration = Field(
        default=30.0, ge=0, le=HOUR, description="How long a stop waits for open transactions before it ends them with 421."
    )
    log_format: Literal["text", "json", "asyncos"] = Field(
        default="text",
        description='Log lines as key=value ("text"), as JSON objects ("json") or as AsyncOS writes its text mail logs ("asyncos").',
    )
    log_steps: bool = Field(
        default=False,
        description="Whether each step of a session has a log line; else a message, a delivery and a connection without mail have one.",
    )


class Listener(Table):
    """A listener: an address and port that takes mail by SMTP. There may be several."""

    name: Name = Field(default="mail", description="Name in logs and tracking.")
    interface: str = Field(
        default="",
        max_length=100,
        description='Name that filters know its address by, as "Data 1" (recv-int, $RecvInt). Empty: the name of the listener.',
    )
    bounce_profile: str = Field(
        default="",
        max_length=64,
        description="Bounce profile of mail that comes in here, where neither a filter nor its destination has one. Empty: Default.",
    )
    address: Address = Field(default="127.0.0.1", description='Address to listen on. "0.0.0.0" or "::": every address of the machine.')
    port: int = Field(
        default=2525,
        ge=0,
        le=65_535,
        description="Port to listen on; 25 for mail from the Internet. 0: one that is free, named in the log.",
    )
    accept_domains: Annotated[tuple[Domain, ...], Field(strict=False)] = Field(
        default=(),
        description=(
            "Domains of recipients that mail is accepted for; .example.org takes all domains below it. They stand behind the entries of "
            "[[recipient_access]]. Neither: all, which is allowed only where mail goes to the Maildir or where only this machine can "
            "connect, for anything else would be an open relay."
        ),
    )
    max_message_size: Size = Field(
        default=50 * MIB,
        ge=64 * KIB,
        le=LARGEST_MESSAGE,
        description="Largest message, announced by SIZE; a larger one is refused with 552.",
    )
    bare_newline: Literal["normalize", "reject"] = Field(
        default="normalize",
        description=(
            'What becomes of a bare CR or LF in mail data: turned into CRLF and space ("normalize") or refused with 550 ("reject"). '
            "Neither ever ends mail data."
        ),
    )
    max_connections: int = Field(
        default=500, ge=1, le=100_000, description="Open connections for each receiving process; past it new ones get 421."
    )
    max_recipients: int = Field(
        default=1_000, ge=100, le=100_000, description="Recipients of one message; past it RCPT gets 452 (RFC 5321 demands 100)."
    )
    max_errors: int = Field(default=20, ge=1, description="Refused commands of one connection; past it 421.")
    command_timeout: Duration = Field(
        default=5 * MINUTE, ge=1, le=HOUR, description="Longest wait for the next command (RFC 5321: at least 5 min)."
    )
    data_timeout: Duration = Field(
        default=3 * MINUTE, ge=1, le=HOUR, description="Longest time for mail data, beside what its size takes at 500 octets a second."
    )
    session_timeout: Duration = Field(default=HOUR, ge=1, le=DAY, description="Longest life of a connection.")
    proxy_header_from: Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], Field(strict=False)] = Field(
        default=(),
        description=(
            "Networks of proxies that begin each connection with a PROXY header (versions 1 and 2) and are believed; without one they are "
            "disconnected. From anybody else it is an unknown command."
        ),
    )
    xclient_from: Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], Field(strict=False)] = Field(
        default=(), description="Networks of proxies that may say by XCLIENT who the client is, and are believed."
    )
    tls: Literal["off", "preferred", "required", "implicit"] = Field(
        default="preferred",
        description=(
            'TLS for clients: "off", "preferred" (STARTTLS is offered where there is a [[certificate]]), "required" (without it no mail is '
            'taken, 530) or "implicit" (from the first octet, as on port 465).'
        ),
    )
    authentication: Literal["off", "offered", "required"] = Field(
        default="off",
        description=(
            'AUTH: "off", "offered" inside TLS, or "required": without it no mail is taken, 530. Who has authenticated may send to any domain.'
        ),
    )
    tls_minimum: Annotated[Version, BeforeValidator(_minimum)] = Field(default="TLSv1.2", description="Oldest version that is spoken.")
    tls_ciphers: Annotated[str, AfterValidator(_ciphers)] = Field(
        default=DEFAULT_CIPHERS,
        description=f"Ciphers of TLS 1.2: a profile ({', '.join(PROFILES)}) or a list in OpenSSL's words. Those of TLS 1.3 are all sound.",
    )
    tls_client_certificates: Literal["ignored", "requested", "required"] = Field(
        default="ignored",
        description=(
            'Certificates of clients: "ignored", "requested" (a client may have none, a wrong one is refused) or "required". They are verified '
            "with tls_client_authorities."
        ),
    )
    tls_client_authorities: str = Field(
        default="", description="File of the authorities that vouch for clients, in PEM. Relative to this file."
    )


class Certificate(Table):
    """A certificate of this server, for all listeners. With several (ECDSA and RSA, other names) each client gets the one that fits."""

    chain: str = Field(
        default="mx.pem", min_length=1, description="The certificate and behind it the intermediate ones, in PEM. Relative to this file."
    )
    key: str = Field(
        default="mx.key", min_length=1, description="Its key in PEM, not encrypted, readable by this user only. Relative to this file."
    )


class Dns(Table):
    """How names are asked for."""

    servers: Annotated[tuple[Annotated[str, AfterValidator(_name_server)], ...], Field(strict=False)] = Field(
        default=(), description='Name servers, as "192.0.2.53" or "[2001:db8::53]:5353". Empty: those of the machine.'
    )
    timeout: Duration = Field(
        default=4.0,
        ge=0.1,
        le=30,
        description="Longest wait for all that is asked of one connecting host; what is not known by then is not known.",
    )
    budget: int = Field(default=30, ge=4, le=1_000, description="Most questions for one connecting host.")


class Delivery(Table):
    """Where accepted mail goes."""

    route: Annotated[str, AfterValidator(delivery_route)] = Field(
        default="",
        description=(
            "Where mail goes that no [[smtp_route]] is for: host:port (or what else a route may name, with commas between), "
            '"USEDNS": to the mail exchangers of its domain. Empty: to the Maildir. "/dev/null": it is thrown away.'
        ),
    )
    maildir: str = Field(
        default="Maildir", min_length=1, description="Maildir that mail goes to where there is no route. Relative to the state folder."
    )
    concurrency: int = Field(default=20, ge=1, le=1_000, description="Connections to one destination at one time.")
    max_connections: int = Field(
        default=500, ge=4, le=20_000, description="Connections to all destinations at one time; none may take all that is left."
    )
    connect_timeout: Duration = Field(
        default=30.0,
        ge=1,
        le=10 * MINUTE,
        description="Longest wait for the next hop to connect, then to greet, and for the handshake of TLS.",
    )
    command_timeout: Duration = Field(
        default=5 * MINUTE,
        ge=1,
        le=HOUR,
        description="Longest wait for a reply of the next hop (RFC 5321: 5 min); twice as long for the one to the mail data.",
    )
    retry_initial: Duration = Field(
        default=MINUTE, ge=1, le=DAY, description="Wait before the second attempt; it doubles each time, with some chance in it."
    )
    retry_max: Duration = Field(default=HOUR, ge=1, le=DAY, description="Longest wait between two attempts.")
    expire: Duration = Field(
        default=3 * DAY, ge=MINUTE, le=60 * DAY, description="Age at which undelivered mail is given up, and its sender told."
    )
    dns_port: int = Field(default=25, ge=1, le=65_535, description="Port of hosts that are found by DNS; another one is for laboratories.")
    dns_unreachable: Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], Field(strict=False)] = Field(
        default=("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "::/128", "::1/128", "ff00::/8"),
        description="Networks that no mail goes to by DNS, whatever a stranger's records say.",
    )


class Scan(Table):
    """What mail is scanned with."""

    anti_spam: bool = Field(
        default=True,
        description=(
            "Whether mail is treated by its score. false: it is scanned, and delivered whatever its score; nobody then has a reputation, for "
            "that is learned from verdicts and acts on them."
        ),
    )
    model: str = Field(default="", description="Model file or folder. Empty: the one that esa comes with. Relative to this file.")
    dictionaries: Texts = Field(
        default=(), description="Dictionaries: files with one entry a line, and folders, of which each *.txt is one. Relative to this file."
    )


class Limits(Table):
    """Bounds of one receiving process. Past them mail is put off with a 4xx, never lost and never gathered without end."""

    scans_in_flight: int = Field(default=2_000, ge=1, le=1_000_000, description="Messages in scan or commit at one time; past it 451.")
    memory: Size = Field(
        default=256 * MIB, ge=8 * MIB, description="Mail data held in memory at one time; past it 452. Over 1 MiB a message goes to disk."
    )
    reserve: Size = Field(
        default=64 * MIB,
        ge=MIB,
        description="Free space of the state folder below which no mail is begun with: 452 4.3.1, until there is room again.",
    )
    reserve_files: int = Field(
        default=1_000,
        ge=0,
        description="Free inodes below which the same holds, on file systems that have a number of them. 0: not looked at.",
    )


class Senders(Table):
    """Bounds for senders that hold whatever their sender group is, over all listeners and receiving processes."""

    connections_per_network: int = Field(
        default=2_000, ge=-1, description="Connections of one network (IPv4 /24, IPv6 /48) at one time; past it 421. -1: any number."
    )


class Greylisting(Table):
    """How long strangers wait, under mail flow policies with greylist = true. Nobody waits because of a fault of ours."""

    delay: Duration = Field(default=5 * MINUTE, ge=1, le=DAY, description="Time before which a sender is told to come back later, 451.")
    retry_window: Duration = Field(default=2 * DAY, ge=MINUTE, le=30 * DAY, description="Time within which it has to come back.")
    lifetime: Duration = Field(
        default=35 * DAY, ge=DAY, le=400 * DAY, description="How long who came back is known, since it was last seen."
    )
    auto_allow: int = Field(
        default=5, ge=0, description="Times that a client (IPv4 /24, IPv6 /64) came back, after which all of it passes. 0: never."
    )
    max_entries: int = Field(
        default=500_000, ge=1_000, le=50_000_000, description="Largest number of entries kept; past it strangers pass."
    )


class Quarantine(Table):
    """Suspect mail that waits for a person."""

    retention: Duration = Field(default=14 * DAY, ge=HOUR, description="Age at which quarantined mail is deleted.")


class Tracking(Table):
    """What became of every message."""

    retention: Duration = Field(default=90 * DAY, ge=HOUR, description="Age at which tracking events are deleted.")


class Metrics(Table):
    """Health (/health) and figures (/metrics) over HTTP. They tell how much mail there is: keep them inside."""

    address: Address = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8025, ge=0, le=65_535, description="Port to listen on. 0: one that is free, named in the log.")


class Configuration(Table):
    """A whole configuration that can be served."""

    gateway: Gateway = Gateway()
    listener: Annotated[tuple[Listener, ...], Field(strict=False)] = (Listener(),)
    sender_group: Annotated[tuple[SenderGroup, ...], Field(strict=False)] = SHIPPED_GROUPS
    recipient_access: Annotated[tuple[RecipientAccess, ...], Field(strict=False)] = ()
    recipient_file: Annotated[tuple[RecipientFile, ...], Field(strict=False)] = ()
    recipient_sql: Annotated[tuple[RecipientSql, ...], Field(strict=False)] = ()
    recipient_ldap: Annotated[tuple[RecipientLdap, ...], Field(strict=False)] = ()
    recipient_call_ahead: Annotated[tuple[RecipientCallAhead, ...], Field(strict=False)] = ()
    mail_flow_policy: MailFlowPolicies = Field(default_factory=shipped_policies)
    incoming_relay: Annotated[tuple[IncomingRelay, ...], Field(strict=False)] = ()
    dns_list: Annotated[tuple[DnsList, ...], Field(strict=False)] = ()
    dns: Dns = Dns()
    reputation: Reputation = Reputation()
    certificate: Annotated[tuple[Certificate, ...], Field(strict=False)] = ()
    authentication: Authentication = Authentication()
    user_ldap: Annotated[tuple[UserLdap, ...], Field(strict=False)] = ()
    delivery: Delivery = Delivery()
    delivery_tls: DeliveryTls = DeliveryTls()
    dkim: Annotated[tuple[DkimKey, ...], Field(strict=False)] = ()
    smtp_route: Annotated[tuple[SmtpRouteTable, ...], Field(strict=False)] = ()
    destination: Annotated[tuple[DestinationTable, ...], Field(strict=False)] = ()
    delivery_interface: Annotated[tuple[DeliveryInterface, ...], Field(strict=False)] = ()
    bounce_profile: Annotated[tuple[BounceProfileTable, ...], Field(strict=False)] = ()
    bounces: Bounces = Bounces()
    bounce_verification: BounceVerification = BounceVerification()
    filters: Filters = Filters()
    mail_policy: Annotated[tuple[MailPolicy, ...], Field(strict=False)] = (MailPolicy(),)
    content_filter: Annotated[tuple[ContentFilter, ...], Field(strict=False)] = ()
    group_ldap: Annotated[tuple[GroupLdap, ...], Field(strict=False)] = ()
    scan: Scan = Scan()
    limits: Limits = Limits()
    senders: Senders = Senders()
    greylisting: Greylisting = Greylisting()
    quarantine: Quarantine = Quarantine()
    tracking: Tracking = Tracking()
    recorder: Recorder = Recorder()
    metrics: Metrics = Metrics()

    @property
    def state(self) -> Path:
        """The state folder; absolute once loaded."""
        return Path(self.gateway.state)

    @property
    def maildir(self) -> Path:
        return self.state / self.delivery.maildir

    @property
    def route(self) -> tuple[str, int] | None:
        """Host and port of the one next hop of [delivery], or None where that says something else."""
        return split_route(self.delivery.route)

    @property
    def has_users(self) -> bool:
        """Whether anybody can authenticate."""
        return bool(self.authentication.users or self.user_ldap)

    @property
    def discards(self) -> bool:
        """Whether all accepted mail is thrown away."""
        return self.delivery.route == DISCARD and not self.smtp_route

    @property
    def default_route(self) -> SmtpRoute:
        """Where mail goes that no route is for."""
        return parse_route(self.delivery.route.split(",")) if self.delivery.route else TO_MAILDIR

    @property
    def way_out(self) -> str:
        """A route by which mail leaves this machine; empty if none does."""
        routes = [self.default_route, *(one for _, one in routes_of(self.smtp_route))]
        return next((one.name for one in routes if one.kind in (RouteKind.HOSTS, RouteKind.DNS)), "")

    @property
    def recipient_sources(self) -> tuple[tuple[str, tuple[RecipientSource, ...]], ...]:
        """All tables of sources of recipients by the name of their table, in the order that they are asked in."""
        return (
            ("recipient_file", self.recipient_file),
            ("recipient_sql", self.recipient_sql),
            ("recipient_ldap", self.recipient_ldap),
            ("recipient_call_ahead", self.recipient_call_ahead),
        )

    def to_json(self) -> str:
        """For a child process; `from_json` reads it back as the same value."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls.model_validate_json(text)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        found = list(contradictions(self))
        if found:
            raise PydanticCustomError("esa_contradictions", "{what}", {"what": found[0].what, "contradictions": found})
        return self


def table_of(name: str) -> type[Table]:
    """The kind of table that stands under a top-level name, whether once, several times, or under names of its own."""

    def search(annotation: object) -> type[Table] | None:
        if isinstance(annotation, type) and issubclass(annotation, Table):
            return annotation
        return next((found for part in get_args(annotation) if (found := search(part))), None)

    found = search(Configuration.model_fields[name].annotation)
    assert found is not None
    return found


class Contradiction(NamedTuple):
    """Values that cannot stand together, told at one of them."""

    place: tuple[str | int, ...]  # table, number of the entry if there are several, key
    what: str
    mend: str


def contradictions(configuration: Configuration) -> Iterator[Contradiction]:
    """All that is wrong with values that are each right by themselves."""
    names: set[str] = set()
    places: set[tuple[str, int]] = set()
    route = configuration.delivery.route if configuration.route else ""
    yield from starmap(
        Contradiction,
        contradictions_of_destinations(
            configuration.smtp_route, configuration.destination, configuration.delivery_interface, configuration.delivery.route
        ),
    )
    try:
        way_out = configuration.way_out
    except SyntaxFault:  # a route without a destination, told above
        way_out = ""
    if not configuration.listener:
        yield Contradiction(("listener",), "there is no listener", "add a table [[listener]], or leave listener out for its default")
    for number, listener in enumerate(configuration.listener):
        place = (listener.address, listener.port)
        if listener.name in names:
            yield Contradiction(("listener", number, "name"), f"two listeners are called {listener.name!r}", "give each its own name")
        if listener.port and place in places:
            what = f"two listeners use {listener.address} port {listener.port}"
            yield Contradiction(("listener", number, "port"), what, "choose another port for one of them")
        is_open = listener.authentication != "required" and accepts_everyone(
            configuration.recipient_access, listener.accept_domains, listener=listener.name
        )
        if way_out and is_open and not ipaddress.ip_address(listener.address).is_loopback:
            what = f"this would be an open relay: others reach {listener.address}, and mail for any domain goes to {way_out}"
            mend = 'name the domains that mail is accepted for, as accept_domains = ["example.org"], and let no ALL accept the rest'
            yield Contradiction(("listener", number, "accept_domains"), what, mend)
        if listener.tls in ("required", "implicit") and not configuration.certificate:
            what = f"TLS is {listener.tls}, but there is no certificate"
            yield Contradiction(("listener", number, "tls"), what, "add a table [[certificate]] with chain and key")
        if listener.authentication != "off":
            there = ("listener", number, "authentication")
            what = f"authentication is {listener.authentication}"
            if not configuration.has_users:
                mend = "name their file under [authentication], as users, or a directory, as [[user_ldap]]"
                yield Contradiction(there, f"{what}, but there are no users", mend)
            if listener.tls == "off" or not configuration.certificate:
                yield Contradiction(there, f"{what}, but passwords are only heard inside TLS", "add a [[certificate]], and leave tls on")
        if listener.tls_client_certificates != "ignored" and not listener.tls_client_authorities:
            what = f"certificates of clients are {listener.tls_client_certificates}, but nobody vouches for them"
            mend = "name the file of their authorities, as tls_client_authorities"
            yield Contradiction(("listener", number, "tls_client_certificates"), what, mend)
        names.add(listener.name)
        places.add(place)
    listeners = {
        listener.name: Offered(listener.tls != "off" and bool(configuration.certificate), listener.authentication != "off")
        for listener in configuration.listener
    }
    for where, what, mend in repeated_zones(configuration.dns_list):
        yield Contradiction(where, what, mend)
    for where, what, mend in contradictions_of(configuration.sender_group, configuration.mail_flow_policy, listeners):
        yield Contradiction(where, what, mend)
    for where, what, mend in contradictions_of_relays(configuration.incoming_relay):
        yield Contradiction(where, what, mend)
    for where, what, mend in contradictions_of_recipients(configuration.recipient_access, list(listeners)):
        yield Contradiction(where, what, mend)
    for where, what, mend in contradictions_of_sources(configuration.recipient_sources, list(listeners), route=route):
        yield Contradiction(where, what, mend)
    for where, what, mend in contradictions_of_users(configuration.authentication, configuration.user_ldap):
        yield Contradiction(where, what, mend)
    for where, what, mend in contradictions_of_policies(configuration.mail_policy):
        yield Contradiction(where, what, mend)
    for where, what, mend in contradictions_of_groups(configuration.group_ldap, list(groups_named(configuration.mail_policy))):
        yield Contradiction(where, what, mend)
    for where, what, mend in unknown_interfaces(configuration.mail_flow_policy, configuration.delivery_interface):
        yield Contradiction(where, what, mend)
    modes = [one.tls for one in configuration.destination]
    for where, what, mend in contradictions_of_delivery_tls(configuration.delivery_tls, modes, configuration.dns.servers):
        yield Contradiction(where, what, mend)
    naming = [
        *(("destination", number, one.bounce_profile) for number, one in enumerate(configuration.destination)),
        *(("listener", number, one.bounce_profile) for number, one in enumerate(configuration.listener)),
    ]
    places_of_profiles = [((table, number, "bounce_profile"), profile) for table, number, profile in naming]
    yield from starmap(Contradiction, contradictions_of_bounces(configuration.bounce_profile, places_of_profiles, configuration.delivery))
    tags = any(one.bounce_verification for one in configuration.destination)
    yield from starmap(Contradiction, contradictions_of_verification(configuration.bounce_verification, tags=tags))
    for where, what, mend in contradictions_of_dkim(configuration.dkim):
        yield Contradiction(("dkim", *where), what, mend)
    chains = [policy.content_filters for policy in configuration.mail_policy]
    for where, what, mend in contradictions_of_content_filters(configuration.content_filter, chains):
        yield Contradiction(where, what, mend)
    greylisting = configuration.greylisting
    if greylisting.delay >= greylisting.retry_window:
        what = f"the delay ({units.format_duration(greylisting.delay)}) is not within the retry window"
        yield Contradiction(("greylisting", "delay"), what, "choose delay under retry_window, so that anybody can come back in time")
    delivery = configuration.delivery
    if not delivery.retry_initial <= delivery.retry_max <= delivery.expire:
        waits = ", ".join(f"{key} {units.format_duration(getattr(delivery, key))}" for key in ("retry_initial", "retry_max", "expire"))
        mend = "choose retry_initial at most retry_max, and retry_max at most expire"
        yield Contradiction(("delivery", "retry_initial"), f"the waits are out of order: {waits}", mend)
