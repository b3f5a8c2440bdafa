"""Group policy: the vectors of policy_vectors.toml, through configuration, scanner, filters, mail policies and the one reply, as the gateway has them."""

from __future__ import annotations

import ipaddress
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from esa.config.advice import advise
from esa.config.content_filters import rules_of
from esa.config.load import load
from esa.config.policies import policies_of
from esa.config.sender_groups import groups_of
from esa.engine.dictionary import Dictionary
from esa.engine.scanner import Scanner
from esa.gateway.deciding import Case, Decider
from esa.gateway.patterns import checks_of
from esa.gateway.visit import Visit
from esa.message.edits import apply
from esa.message.envelope import Envelope, Session
from esa.policy.disposition import Answer
from esa.policy.host_access import HostAccess, Sender
from esa.policy.outcome import Outcome as Acted
from tests.conformance.outcome import Outcome, failed, judged, passed, skipped

VECTORS = Path(__file__).with_name("policy_vectors.toml")
LISTENERS = '[[listener]]\nname = "InboundMail"\nport = 2525\n[[listener]]\nname = "OutboundMail"\nport = 2587\n'
ANSWERS = {"accept": Answer.ACCEPT, "refuse": Answer.REFUSE, "defer": Answer.DEFER}


@dataclass(frozen=True)
class Mail:
    """One message of a vector, and what is expected of it; None: that is not asked."""

    sender: str = "a@example.net"
    recipients: Sequence[str] = ("b@example.org",)
    listener: str = "InboundMail"
    client: str = "192.0.2.1"
    names: Sequence[str] = ()
    reputation: float | None = None
    listed: Sequence[str] = ()
    score: float | None = None  # in the place of the model's
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    raw: str = "From: a@example.net\r\nSubject: Hello\r\n\r\nHello.\r\n"
    answer: str = "accept"
    text: str | None = None
    got: Mapping[str, str] | None = None
    fired: Sequence[str] | None = None
    tags: Sequence[str] | None = None
    lines: Sequence[str] = ()
    group: str | None = None
    policies: Mapping[str, str] | None = None


def run(_: Path) -> Iterator[Outcome]:
    document = tomllib.loads(VECTORS.read_text("utf-8"))
    for vector in document["vector"]:
        with tempfile.TemporaryDirectory() as folder:
            yield from _run(vector, Path(folder))
    for one in document["elsewhere"]:
        yield skipped(one["id"], one["reason"])


def _run(vector: Mapping[str, object], folder: Path) -> Iterator[Outcome]:
    name = str(vector["id"])
    files, mails = vector.get("files", {}), vector["mail"]
    assert isinstance(files, dict)
    assert isinstance(mails, list)
    for file, text in files.items():
        (folder / file).write_text(text)
    text = f"{LISTENERS}{vector.get('configuration', '')}"
    if "f.filters" in files:
        text += '\n[filters]\nfiles = ["f.filters"]\n'
    (folder / "esa.toml").write_text(text)
    configuration = load(folder / "esa.toml")
    if "advice" in vector:
        wanted = vector["advice"]
        assert isinstance(wanted, list)
        told = [one.what for one in advise(configuration, folder) if "gives one" not in one.what]  # which is of the missing DNS lists
        is_right = bool(told) == bool(wanted) and all(any(words in one for one in told) for words in wanted)
        yield judged(f"{name}, advice", is_right, f"told {told}")
    rules = rules_of(configuration, folder)
    dictionaries = [Dictionary.from_file(Path(path)) for path in configuration.scan.dictionaries]
    scanner = Scanner(checks=checks_of(rules), dictionaries=dictionaries)
    decider = Decider(policies_of(configuration.mail_policy), rules, lookup=scanner.lookup)
    hosts = HostAccess(groups_of(configuration.sender_group, configuration.mail_flow_policy))
    known = {one.name for one in fields(Mail)}
    for number, given in enumerate(mails, 1):
        assert set(given) <= known, set(given) - known
        mail = Mail(**given)
        wrong = list(_faults(mail, scanner, decider, hosts))
        yield passed(f"{name}, mail {number}") if not wrong else failed(f"{name}, mail {number}", "; ".join(wrong))


def _faults(mail: Mail, scanner: Scanner, decider: Decider, hosts: HostAccess) -> Iterator[str]:
    raw = mail.raw.encode()
    report = scanner.scan(raw)
    report = replace(report, score=0.0 if mail.score is None else mail.score)
    address = ipaddress.ip_address(mail.client)
    sender = Sender(address, names=tuple(mail.names), reputation=mail.reputation, listed=frozenset(mail.listed))
    match = hosts.match(sender)
    session = Session(client_address=mail.client, listener=mail.listener)
    envelope = Envelope(mail.sender, tuple(mail.recipients), len(raw))
    groups = {who: frozenset(names) for who, names in mail.groups.items()}
    visit = Visit(match, sender, {})
    case = Case("1", raw, raw.lower(), report, session, envelope, visit, spam_check=match.policy.spam_check, groups=groups)
    plan = decider.decide(case).plan
    if mail.group is not None and match.group != mail.group:
        yield f"group {match.group}, not {mail.group}"
    if plan.answer is not ANSWERS[mail.answer]:
        yield f"answer {plan.answer}, not {mail.answer}"
    if mail.text is not None and plan.text != mail.text:
        yield f"text {plan.text!r}"
    got = {who: str(one.action) for one in plan.splinters for who in one.destinations}
    if mail.got is not None and got != dict(mail.got):
        yield f"got {got}, not {dict(mail.got)}"
    policies = {who: one.policy for one in plan.splinters for who in one.destinations}
    if mail.policies is not None and policies != dict(mail.policies):
        yield f"policies {policies}, not {dict(mail.policies)}"
    acted: list[Acted] = [one for one in (plan.messages, *(each.outcome for each in (*plan.splinters, *plan.refusals))) if one is not None]
    fired = list(dict.fromkeys(step.filter for one in acted for step in one.trail))
    if mail.fired is not None and fired != list(mail.fired):
        yield f"fired {fired}, not {list(mail.fired)}"
    tags = [tag for one in acted for tag in one.tags]
    if mail.tags is not None and tags != list(mail.tags):
        yield f"tags {tags}"
    if mail.lines:
        lines = apply(raw, plan.splinters[0].edits).decode().split("\r\n")
        if missing := [line for line in mail.lines if line not in lines]:
            yield f"lacks {missing}: {lines}"
