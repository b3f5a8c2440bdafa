"""A rehearsal decides by the gateway's own parts, asks nobody, writes nothing, and comes out the same each time. Agreement: tests/end_to_end."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from esa.config.load import load
from esa.config.places import Places
from esa.errors import ConfigurationError
from esa.gateway.rehearsal.answers import Answers
from esa.gateway.rehearsal.judgement import Judgement, Mail, Outcome, Stage, Step, differences
from esa.gateway.rehearsal.rehearsal import Rehearsal
from esa.message.envelope import Envelope, Session
from esa.policy.history import History, Kind, Subject
from tests.end_to_end.running import environment

NOW = 1_790_000_000.0
PLAIN = b"From: ann@client.example\r\nTo: bob@example.org\r\nSubject: minutes\r\n\r\nThe minutes of the meeting.\r\n"
BEGIN = '[gateway]\nhostname = "mx.example.org"\n[[listener]]\nname = "public"\naccept_domains = ["example.org"]\n'


def mail(content: bytes = PLAIN, to: tuple[str, ...] = ("bob@example.org",), *, client: str = "192.0.2.1", **session: str) -> Mail:
    given = Session(client, 1234, "client.example", "ESMTP", "public", NOW, **session)
    return Mail("01J9ZK00000000000000000000", content, given, Envelope("ann@client.example", to), "message.eml")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def judge(text: str, given: Mail, *, answers: Answers | None = None, histories: object = None) -> Judgement:
    Path("esa.toml").write_text(BEGIN + text)
    with Rehearsal(load(), answers=answers, histories=histories, places=Places.of(None)) as rehearsal:  # type: ignore[arg-type]
        return rehearsal.judge(given)


def stage(judgement: Judgement, name: str, subject: str = "") -> Stage:
    return next(one for one in judgement.stages if one.name == name and one.subject.startswith(subject))


def recorded(text: str) -> Answers:
    Path("answers.json").write_text(text)
    return Answers.from_file(Path("answers.json"))


# --- what it goes by


def test_names_and_dns_lists_are_what_is_recorded(folder: Path) -> None:
    groups = """
        [[sender_group]]
        name = "LISTED"
        policy = "BLOCKED"
        senders = ["dnslist[bl.example.net]"]
        [[sender_group]]
        name = "NAMED"
        senders = [".friends.example"]
    """
    answers = """{"dns": {"A 1.2.0.192.bl.example.net": [], "PTR 1.2.0.192.in-addr.arpa": ["mail.friends.example"],
                  "A mail.friends.example": ["192.0.2.1"], "A 9.2.0.192.bl.example.net": ["127.0.0.2"], "A 1.0.0.127.bl.example.net": [],
                  "PTR 9.2.0.192.in-addr.arpa": null}}"""
    named = judge(groups, mail(), answers=recorded(answers))
    assert stage(named, "connection").rule == "sender group NAMED, entry .friends.example"
    assert stage(named, "connection").place == "esa.toml:13"
    listed = judge(groups, mail(client="192.0.2.9"), answers=recorded(answers))
    assert (listed.step, listed.fates[0].outcome, listed.reply[:3]) == (Step.CONNECTION, Outcome.REFUSED, "554")
    unknown = judge(groups, mail(client="192.0.2.7"))
    assert "A 7.2.0.192.bl.example.net" in unknown.missing
    assert any(part.text == "name servers are not asked" for part in stage(unknown, "connection").parts)


class Histories:
    """A sender of which much spam has come."""

    has_imported = False

    def look_up(self, subject: Subject) -> History | None:
        spam = History(bad=60.0, at=NOW, first_at=NOW - 86_400, messages=60, positive=60)
        return spam if subject == Subject(Kind.ADDRESS, "192.0.2.1") else None


def test_what_was_learned_of_a_sender_counts_and_is_shown(folder: Path) -> None:
    judgement = judge("", mail(), histories=Histories())
    assert judgement.fates[0].reason == "sender group BLACKLIST (SBRS[-10.0:-3.0]), policy BLOCKED"
    [reputation] = [part for part in stage(judgement, "connection").parts if part.text == "reputation"]
    assert reputation.answer.startswith("-")
    assert "60 of 60 messages spam" in reputation.detail
    assert judge("", mail(client="192.0.2.2"), histories=Histories()).fates[0].outcome is Outcome.DELIVERED


def test_directories_are_not_asked_and_recipients_are_taken_unless_it_is_recorded(folder: Path) -> None:
    source = '[[recipient_ldap]]\nname = "people"\nservers = ["ldap://192.0.2.250"]\nbase = "dc=example"\n'
    assumed = judge(source, mail())
    assert assumed.fates[0].outcome is Outcome.DELIVERED
    assert "not asked here" in stage(assumed, "recipient").reason
    assert assumed.missing == ("recipient bob@example.org",)
    known = judge(
        source,
        mail(to=("bob@example.org", "gone@example.org")),
        answers=recorded('{"recipients": {"bob@example.org": "known", "gone@example.org": "unknown"}}'),
    )
    assert [fate.outcome for fate in known.fates] == [Outcome.DELIVERED, Outcome.REFUSED]
    assert known.answers["gone@example.org"].reason == "source of recipients people"


def test_groups_of_directories_are_those_that_are_recorded(folder: Path) -> None:
    text = """
[[group_ldap]]
name = "groups"
servers = ["ldap://192.0.2.250"]
base = "dc=example"
filter = "(&(mail={a})(memberOf={g}))"
[[mail_policy]]
name = "managers"
recipients = ["ldap:managers"]
"""
    answers = '{"groups": {"bob@example.org": ["managers"]}}'
    assert stage(judge(text, mail(), answers=recorded(answers)), "mail policy").answer == "managers (incoming)"
    assert stage(judge(text, mail()), "mail policy").answer == "DEFAULT (incoming)"


def test_mail_of_an_incoming_relay_goes_by_its_client(folder: Path) -> None:
    text = '[[incoming_relay]]\nname = "edge"\nhosts = ["192.0.2.1"]\n[[sender_group]]\nname = "FAR"\nsenders = ["203.0.113.0/24"]\n'
    relayed = b"Received: from far.example (far.example [203.0.113.5]) by edge.example with ESMTP; x\r\n" + PLAIN
    judgement = judge(text, mail(relayed))
    assert stage(judgement, "incoming relay").answer == "the mail is of 203.0.113.5"
    assert stage(judgement, "incoming relay").rule == "sender group FAR, entry 203.0.113.0/24"


def test_an_authenticated_user_may_send_anywhere(folder: Path) -> None:
    judgement = judge("", mail(to=("x@other.example",), user="ann"))
    assert judgement.fates[0].outcome is Outcome.DELIVERED
    assert stage(judgement, "recipient").rule == "ann has authenticated"
    assert stage(judgement, "mail policy").answer == "DEFAULT (outgoing)"


def test_strangers_are_greylisted_where_it_is_recorded_who_is_known(folder: Path) -> None:
    text = '[[sender_group]]\nname = "NEW"\npolicy = "GREY"\nsenders = ["ALL"]\n[mail_flow_policy.GREY]\ngreylist = true\n'
    text += '[greylisting]\ndelay = "90 s"\n'
    names = '"dns": {"PTR 1.2.0.192.in-addr.arpa": []}'
    left_out = judge(text, mail(), answers=recorded(f"{{{names}}}"))
    assert left_out.fates[0].outcome is Outcome.DELIVERED
    assert any(part.text == "greylisting" and part.answer == "left out" for part in stage(left_out, "connection").parts)
    stranger = judge(text, mail(), answers=recorded(f'{{{names}, "known_clients": ["198.51.100.1"]}}'))
    assert (stranger.fates[0].outcome, stranger.reply) == (Outcome.DEFERRED, "451 4.7.1 Greylisted, try again in 90 seconds")
    known = judge(text, mail(), answers=recorded(f'{{{names}, "known_clients": ["192.0.2.200"]}}'))  # of the same network
    assert known.fates[0].outcome is Outcome.DELIVERED
    code = PLAIN.replace(b"minutes", b"Your verification code is 123456")
    named = '{"dns": {"PTR 1.2.0.192.in-addr.arpa": ["x.example"], "A x.example": ["192.0.2.1"]}, "known_clients": []}'
    assert judge(text, mail(code), answers=recorded(named)).reply.startswith("250")
    late = judge(text, mail(), answers=recorded(named))
    assert (late.fates[0].outcome, late.fates[0].reason, late.step) == (Outcome.DEFERRED, "greylist", Step.MAIL_DATA)


def test_the_delay_of_a_greeting_is_not_waited_for(folder: Path) -> None:
    text = '[[sender_group]]\nname = "SLOW"\npolicy = "SLOW"\nsenders = ["ALL"]\n[mail_flow_policy.SLOW]\ngreeting_delay = "60 s"\n'
    began = time.monotonic()
    judgement = judge(text, mail())
    assert time.monotonic() - began < 30
    assert any("the delay of the greeting" in part.text for part in stage(judgement, "connection").parts)


def test_limits_of_all_sessions_together_put_nothing_off(folder: Path) -> None:
    Path("esa.toml").write_text(BEGIN + 'max_connections = 1\n[limits]\nmemory = "64 MiB"\n')
    big = PLAIN + b"x" * 70 + b"\r\n" * (20 << 20)
    mails = [mail(big)._replace(identifier=f"{number:026d}") for number in range(2)] + [mail()._replace(identifier=f"{9:026d}")]
    with Rehearsal(load(), explains=False) as rehearsal:
        assert {one.reply[:3] for one in rehearsal.judge_all(mails)} == {"250"}


def test_bare_line_feeds_are_refused_where_the_listener_does(folder: Path) -> None:
    listener = 'bare_newline = "reject"\n'
    assert judge(listener, mail(b"Subject: x\r\n\r\na\nb\r\n")).reply.startswith("550 5.6.11")
    assert judge(listener, mail(b"Subject: x\n\na\nb\n")).reply.startswith("250")  # a file has them, and a client sends CRLF


@pytest.mark.parametrize("protocol", ["SMTP", "ESMTP", "ESMTPS", "UTF8SMTP"])
def test_it_speaks_the_protocol_of_the_session(folder: Path, protocol: str) -> None:
    given = mail("Subject: ä\r\n\r\nö\r\n".encode())
    judgement = judge(
        "", given._replace(session=replace(given.session, protocol=protocol, tls_version="TLSv1.3" if protocol[-1] == "S" else ""))
    )
    assert judgement.step is Step.MAIL_DATA
    [connected] = [event for event in judgement.events if event.name.value == "connection.opened"]
    assert connected.fields["protocol"] == protocol


# --- what it says of filters


def test_each_condition_says_what_it_answered_and_what_it_found(folder: Path) -> None:
    Path("filters").mkdir()
    Path("filters/a.filters").write_text(
        'first: if (subject == "(?i)MIN[A-Z]+" and (not mail-from == "nobody" or body-contains("never asked"))) {\n'
        '    insert-header("X-One", "$MatchedContent");\n'
        '    if (rcpt-count > 5) { drop(); } else { log-entry("few"); }\n}\n'
        'waits: if (spf-status == "Pass") { drop(); }\n'
        'last: if (header("X-One")) { drop(); }\n'
        "behind: if (true) { bounce(); }\n"
    )
    judgement = judge("", mail())
    first = stage(judgement, "message filter", "first")
    assert [(part.kind, part.text, part.answer, part.detail) for part in first.parts] == [
        ("condition", 'subject == "(?i)MIN[A-Z]+"', "true", "minutes"),
        ("condition", 'mail-from == "nobody"', "false", ""),
        ("action", 'insert-header("X-One", "$MatchedContent")', "done", ""),
        ("condition", "rcpt-count > 5", "false", ""),
        ("action", 'log-entry("few")', "done", ""),
        ("condition", 'body-contains("never asked")', "not asked", ""),
        ("action", "drop()", "not done", ""),
    ]
    assert (first.place, first.parts[3].place) == ("filters/a.filters:1", "filters/a.filters:3")
    waits = stage(judgement, "message filter", "waits")
    assert (waits.answer, waits.acts) == ("unscanned: a fact that it asks for is not known", False)
    assert stage(judgement, "message filter", "last").answer == "drop()"
    assert stage(judgement, "message filter", "behind").answer == "not reached"
    assert judgement.fates[0].outcome is Outcome.DROPPED
    assert stage(judgement, "mail policy").reason == "message filter last has ended it"


def test_a_filter_that_cannot_run_is_told(folder: Path) -> None:
    Path("filters").mkdir()
    Path("filters/a.filters").write_text('gone: if (dictionary-match("nothere")) { drop(); }\n')
    found = stage(judge("", mail()), "message filter", "gone")
    assert (found.answer, found.place) == ("does not run", "filters/a.filters:1")
    assert "no dictionary 'nothere'" in found.reason


# --- the same again, and without a trace


def bare(judgement: Judgement) -> list[Stage]:
    """Without times."""
    return [
        one._replace(microseconds=None, parts=tuple(part._replace(microseconds=None) for part in one.parts)) for one in judgement.stages
    ]


def test_the_same_comes_out_each_time_whatever_is_left_to_chance(folder: Path) -> None:
    Path("filters").mkdir()
    Path("filters/a.filters").write_text('chance: if (random(1000) < 500) { tag-message("chosen"); }\n')
    judgements = [judge("", mail()) for _ in range(3)]
    assert bare(judgements[0]) == bare(judgements[1]) == bare(judgements[2])
    acted = {stage(judge("", mail()._replace(identifier=f"{number:026d}")), "message filter").acts for number in range(12)}
    assert acted == {True, False}


def test_with_and_without_explaining_the_same_becomes_of_mail(folder: Path) -> None:
    mails = [mail(PLAIN + b"x" * number, client=f"192.0.2.{number}")._replace(identifier=f"{number:026d}") for number in range(1, 90)]
    Path("filters").mkdir()
    Path("filters/a.filters").write_text('some: if (remote-ip == "192.0.2.0/27" and body-contains("xxx$")) { quarantine("Legal"); }\n')
    Path("esa.toml").write_text(BEGIN)
    with Rehearsal(load(), explains=False) as quick, Rehearsal(load()) as slow:
        fast, explained = quick.judge_all(mails), slow.judge_all(mails)
    assert [one.fates for one in fast] == [one.fates for one in explained]
    assert {one.fates[0].outcome for one in fast} == {Outcome.DELIVERED, Outcome.QUARANTINED}
    assert not fast[0].stages


def test_nothing_is_written_and_nobody_is_asked(folder: Path) -> None:
    Path("esa.toml").write_text(
        BEGIN + 'xclient_from = []\n[[sender_group]]\nname = "X"\nsenders = ["dnslist[bl.example.net]", ".example.com"]\n'
        '[[recipient_ldap]]\nservers = ["ldap://127.0.0.1"]\nbase = "x"\n[[recipient_call_ahead]]\nname = "hop"\nnext_hop = "127.0.0.1:25"\n'
    )
    code = """
        import os, sys
        sys.dont_write_bytecode = True
        def watch(event, arguments):
            if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "os.mkdir", "os.remove", "os.rename"):
                os.write(2, f"{event} {arguments}\\n".encode()); os._exit(9)
            if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                os.write(2, f"{event} {arguments}\\n".encode()); os._exit(9)
        from tests.gateway.test_rehearsal import mail, PLAIN
        from esa.config.load import load
        from esa.gateway.rehearsal.rehearsal import Rehearsal
        configuration = load()
        sys.addaudithook(watch)
        with Rehearsal(configuration) as rehearsal:
            for content in (PLAIN, PLAIN + b"x" * (3 << 20)):
                print(rehearsal.judge(mail(content)).reply)
    """
    root = Path(__file__).resolve().parent.parent.parent
    paths = environment()
    paths["PYTHONPATH"] += f":{root}"
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, env=paths, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("250 2.0.0 accepted") == 2
    assert sorted(path.name for path in folder.iterdir()) == ["esa.toml"]


# --- what cannot be


def test_a_listener_that_there_is_not_is_told(folder: Path) -> None:
    Path("esa.toml").write_text(BEGIN)
    unknown = mail()._replace(session=Session(listener="submission", received_at=NOW))
    with Rehearsal(load()) as rehearsal, pytest.raises(ConfigurationError, match="no listener is called 'submission'") as told:
        rehearsal.judge(unknown)
    assert told.value.mend == "choose of public"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "Invalid JSON"),
        ('{"dns": {"A x": 5}}', "dns.A x"),
        ('{"recipients": {"a@example.org": "perhaps"}}', "recipients.a@example.org"),
        ('{"names": {}}', "names"),
        ('{"known_clients": ["localhost"]}', "'localhost' is no IP address"),
    ],
)
def test_answers_that_are_none_are_told_with_their_place(folder: Path, text: str, what: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        recorded(text)
    assert what in str(told.value)
    assert (told.value.where, "write" in str(told.value.mend)) == ("answers.json", True)


@pytest.mark.parametrize("path", ["x>\r\nQUIT", "\x00", "a b@example.org", "@", "é@example.org", "a" * 3000 + "@example.org", "<", ""])
def test_addresses_that_are_none_end_no_session_early(folder: Path, path: str) -> None:
    Path("esa.toml").write_text(BEGIN)
    with Rehearsal(load()) as rehearsal:
        judgement = rehearsal.judge(mail()._replace(envelope=Envelope(path, (path, "bob@example.org"))))
    assert len(judgement.fates) == len({path, "bob@example.org"})
    assert judgement.reply[:1] in "2345"


@pytest.mark.parametrize("content", [b"", b"\n", b".", b"\r\n.\r\n", b"\x00" * 100, b"a" * 100_000, b"\n.\nQUIT\n", b"From \xff\r\r\n\n\r"])
def test_no_content_is_too_odd(folder: Path, content: bytes) -> None:
    Path("esa.toml").write_text(BEGIN)
    with Rehearsal(load()) as rehearsal:
        judgement = rehearsal.judge(mail(content))
    assert judgement.step is Step.MAIL_DATA
    assert judgement.report is not None


def test_stages_that_differ_are_told_from_both_sides(folder: Path) -> None:
    before = judge("", mail())
    after = judge('[[mail_policy]]\nname = "bobs"\nrecipients = ["bob@"]\nsuspect_above = 1\npositive_above = 2\n', mail())
    found = {(one.name, one.subject): one for one in differences(before, after)}
    assert set(found) == {
        ("mail policy", "bob@example.org"),
        ("anti-spam", "DEFAULT"),
        ("anti-spam", "bobs"),
        ("disposition", "bob@example.org"),
        ("reply", "mail data"),
    }
    assert found["anti-spam", "bobs"].before is None
    assert differences(before, judge("# a comment\n", mail())) == []
