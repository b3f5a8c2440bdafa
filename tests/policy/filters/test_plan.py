"""Running filters: order, final actions, what accumulates and what the last one decides, and what later filters see of earlier edits."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Mapping
from typing import Any

import pytest

from esa.engine.dictionary import Dictionary
from esa.message.edits import EditHeader, InsertHeader, apply
from esa.policy.filters.plan import FilterPlan
from esa.policy.filters.read import read
from esa.policy.filters.scope import Scope, Severity
from esa.policy.outcome import Final
from tests.policy.filters.running import MAIL, WITH_ATTACHMENTS, Running, holds, run


def problems_of(text: str, scope: Scope | None = None) -> list[str]:
    return [f"{problem.severity} {problem.what}" for problem in FilterPlan(read(text).filters, scope or Scope()).problems]


def test_filters_run_in_their_order_until_a_final_action() -> None:
    outcome = run('a: if (true) { log-entry("a"); } b: if (true) { log-entry("b"); drop(); } c: if (true) { log-entry("c"); }')
    assert outcome.log_entries == ["a", "b"]
    assert (outcome.final, outcome.final_filter) == (Final.DROP, "b")


def test_nothing_stands_in_the_outcome_where_no_filter_fires() -> None:
    outcome = run('a: if (subject == "^Goodbye") { drop(); }')
    assert outcome.is_empty
    assert outcome.final is None


def test_an_inactive_filter_does_not_run() -> None:
    assert run("a! if (true) { drop(); }").is_empty


def test_what_can_hold_only_once_is_what_the_last_filter_said() -> None:
    outcome = run('a: if (true) { alt-mailhost("one"); bounce-profile("x"); } b: if (true) { alt-mailhost("two"); }')
    assert (outcome.mailhost, outcome.bounce_profile) == ("two", "x")


def test_copies_accumulate_and_each_target_gets_one() -> None:
    outcome = run("""
        a: if (true) { quarantine("A"); bcc("x@example.org"); notify("n@example.org"); archive("log"); }
        b: if (true) { quarantine("B"); quarantine("A"); bcc("y@example.org"); bcc("x@example.org"); archive("log"); }
    """)
    assert outcome.quarantines == ["B", "A"]
    assert [copy.addresses for copy in outcome.blind_copies] == [("x@example.org",), ("y@example.org",)]
    assert len(outcome.notices) == 1
    assert outcome.archives == ["log"]


def test_a_quarantine_is_a_flag_and_a_later_filter_may_drop_the_message() -> None:
    outcome = run('a: if (true) { quarantine("Policy"); } b: if (true) { drop(); }')
    assert outcome.quarantines == ["Policy"]
    assert outcome.final is Final.DROP


def test_a_filter_on_one_recipient_acts_for_all() -> None:
    outcome = run('a: if (rcpt-to == "^bob@") { drop(); }', recipients=("eve@example.net", "bob@example.net"))
    assert outcome.final is Final.DROP


def test_conditions_see_the_header_as_earlier_actions_left_it() -> None:
    outcome = run("""
        a: if (not header("X-Seen")) { insert-header("X-Seen", "yes"); }
        b: if (header("X-Seen") == "yes") { edit-header-text("Subject", "Bob", "Robert"); }
        c: if (subject == "^Hello Robert$") { log-entry("$Subject"); strip-header("X-Mailer"); }
        d: if (header("X-Mailer")) { drop(); }
    """)
    assert outcome.final is None
    assert outcome.log_entries == ["Hello Robert"]
    assert outcome.edits[:2] == [InsertHeader("X-Seen", "yes"), EditHeader("Subject", "Bob", "Robert")]
    edited = apply(MAIL, outcome.edits)
    assert b"Subject: Hello Robert\r\n" in edited
    assert b"X-Mailer" not in edited


def test_a_nested_condition_sees_the_edit_of_its_own_filter() -> None:
    assert run('a: if (true) { insert-header("X-A", "1"); if (header("X-A")) { drop(); } }').final is Final.DROP


def test_edits_that_nobody_reads_are_not_made_while_filters_run() -> None:
    running = Running('a: if (true) { insert-header("X-A", "1"); } b: if (header("X-B")) { drop(); }')
    view = running.view()
    running.plan.run(view)
    assert view.content is MAIL


def test_edits_of_an_earlier_stage_are_seen() -> None:
    running = Running('a: if (header("X-A") == "1") { drop(); }')
    assert running.plan.run(running.view(), before=(InsertHeader("X-A", "1"),)).final is Final.DROP
    assert running.plan.run(running.view()).final is None


def test_an_else_branch_runs_where_the_condition_is_false() -> None:
    text = 'a: if (subject == "Goodbye") { drop(); } else if (subject == "Hello") { log-entry("else"); } else { bounce(); }'
    assert run(text).log_entries == ["else"]


def test_a_filter_whose_condition_is_unscanned_does_neither() -> None:
    assert run('a: if (spf-passed) { drop(); } else { log-entry("else"); } b: if (not spf-passed) { drop(); }').is_empty


@pytest.mark.parametrize(
    ("condition", "answer"),
    [
        ("true or spf-passed", True),
        ("spf-passed and true", None),
        ("spf-passed and not true", False),
        ("not (spf-passed or true)", False),
        ("not spf-passed", None),
    ],
)
def test_an_unscanned_test_counts_only_where_the_answer_depends_on_it(condition: str, answer: bool | None) -> None:
    assert holds(condition) is answer


def test_the_order_of_tests_does_not_change_the_answer() -> None:
    text = 'a: if (body-contains("bank") and remote-ip == "192.0.2.0/24" and subject == "Hello") { drop(); }'
    assert run(text).final is Final.DROP
    assert Running(text, scope=Scope(is_left_to_right=True)).run().final is Final.DROP


def test_cheap_tests_come_first_unless_told_otherwise() -> None:
    """A test that cannot be asked shows which came first: text that was found is remembered in the order of evaluation."""
    text = 'a: if (body-contains("bank") and subject == "Hello") { log-entry("$MatchedContent"); }'
    assert run(text).log_entries == ["bank, Hello"]
    dear = 'a: if (only-body-contains("bank") and subject == "Hello") { log-entry("$MatchedContent"); }'
    assert run(dear).log_entries == ["Hello, bank"]
    assert Running(dear, scope=Scope(is_left_to_right=True)).run().log_entries == ["bank, Hello"]


def test_two_filters_of_one_name_are_told_with_both_places() -> None:
    assert problems_of("a: if (true) { drop(); } a: if (true) { bounce(); }") == ["error two filters are called 'a'"]


def test_a_missing_dictionary_makes_a_filter_invalid_but_not_a_content_filter() -> None:
    text = 'a: if (not dictionary-match("gone")) { drop(); }'
    known = frozenset({"there"})
    assert problems_of(text, Scope(dictionaries=known)) == ["invalid there is no dictionary 'gone', so the filter does not run"]
    assert Running(text, scope=Scope(dictionaries=known)).run().is_empty
    assert Running(text, scope=Scope(dictionaries=known, is_lenient=True)).run().final is Final.DROP


def test_a_missing_listener_makes_a_filter_invalid() -> None:
    text = 'a: if (recv-listener == "Inbound") { drop(); }'
    (problem,) = FilterPlan(read(text).filters, Scope(listeners=frozenset({"InboundMail"}))).problems
    assert (problem.severity, problem.mend) == (Severity.INVALID, "did you mean 'InboundMail'?")


@pytest.mark.parametrize(
    ("text", "column", "what", "mend"),
    [
        ("a: if (bdy-size > 1) { drop(); }", 8, "no condition is called 'bdy-size'", "did you mean 'body-size'?"),
        ("a: if (true) { dorp(); }", 16, "no action is called 'dorp'", "did you mean 'drop'?"),
        ("a: if (drop) { drop(); }", 8, "'drop' is an action and cannot stand here", ""),
        ("a: if (subject) { drop(); }", 8, "subject is compared with nothing", "write == and a regular expression behind it"),
        ('a: if (subject > "x") { drop(); }', 8, "subject cannot be compared by >", "write one of == !="),
        ("a: if (subject == 5) { drop(); }", 19, "subject is given a number where it takes a regular expression", ""),
        ("a: if (true) { insert-header('X'); }", 16, "insert-header is given 1 argument", "it takes the name of a header field, a text"),
        ('a: if (true == "x") { drop(); }', 8, "true is not compared with anything", "remove == and what follows it"),
        (r'a: if (subject == "a\\.b(?=c)") { drop(); }', 25, "(?= is look-ahead, which RE2 has not", r"write what must follow: a\.bc"),
        (r'a: if (subject == "(a)\\1") { drop(); }', 23, r"\1 is a back-reference", "write out what"),
        ('a: if (body-contains(".*")) { drop(); }', 22, "this regular expression matches empty text", "leave out .*"),
        ('a: if (subject == "(") { drop(); }', 20, "this regular expression cannot be used: missing )", "RE2"),
        ('a: if (remote-ip == "300.1.1.1") { drop(); }', 21, "'300.1.1.1' is no address", "write an address"),
        ('a: if (date > "31.12.2026") { drop(); }', 15, "'31.12.2026' is no date", "12/31/2026"),
        ('a: if (image-verdict == "bad") { drop(); }', 8, "image-verdict cannot be tested for", ""),
        ("a: if (true) { url-reputation-proxy-redirect(-10, -6); }", 16, "url-reputation-proxy-redirect cannot be done", ""),
    ],
)
def test_what_is_wrong_with_a_filter_is_told_with_its_place_and_a_mend(text: str, column: int, what: str, mend: str) -> None:
    (problem,) = FilterPlan(read(text, "x.filters").filters, Scope()).problems
    assert problem.severity is Severity.ERROR
    assert (problem.at.line, problem.at.column) == (1, column)
    assert what in problem.what
    assert mend in problem.mend


def test_all_that_is_wrong_with_a_filter_is_told_at_once() -> None:
    text = 'a: if (bdy-size > 1 or subject == "(?=x)" or mail-from) { dorp(); insert-header("X"); }'
    assert len(problems_of(text)) == 5


def test_a_filter_nested_too_deep_is_refused() -> None:
    text = "a: " + "if (true) { " * 300 + "drop();" + " }" * 300
    assert problems_of(text) == ["error it is nested more than 100 deep"]


def test_a_chain_of_a_thousand_tests_is_not_deep() -> None:
    tests = " or ".join(f'mail-from == "^user{number}@example\\\\.org$"' for number in range(1000))
    text = f"a: if ({tests}) {{ drop(); }}"
    assert run(text, sender="user999@example.org").final is Final.DROP
    assert run(text, sender="user1000@example.org").final is None


def test_only_filters_whose_gates_are_open_are_looked_at() -> None:
    running = Running("""
        exact: if (mail-from == "^ann@example\\\\.org$") { no-op(); }
        other: if (mail-from == "^bob@example\\\\.org$") { no-op(); }
        domain: if (mail-from == "@example\\\\.org$") { no-op(); }
        network: if (remote-ip == "192.0.2.0/24") { no-op(); }
        far: if (remote-ip == "198.51.100.0/24") { no-op(); }
        both: if (recv-listener == "InboundMail" and subject == "^Goodbye everybody") { no-op(); }
        four: if (subject == "Hello Bob") { no-op(); }
        five: if (subject == "nothing of this") { no-op(); }
        six: if (subject == "nothing of that") { no-op(); }
        text: if (body-contains("bank account")) { no-op(); }
        word: if (body-contains("account of")) { no-op(); }
        file: if (attachment-filename == "\\\\.exe$") { no-op(); }
        large: if (attachment-size > 5M) { no-op(); }
        never: if (spf-passed) { no-op(); }
    """)
    assert running.plan.candidates(running.view()) == ["exact", "domain", "network", "four", "word"]


CONDITIONS = [
    'mail-from == "^ann@example\\\\.org$"', 'mail-from == "@example\\\\.org$"', 'mail-from == "(?i)ANN"', 'mail-from == "^x.*y$"', 'mail-from == "^$"',
    'rcpt-to == "^bob@"', 'rcpt-to == "(?i)@EXAMPLE\\\\.NET$"', 'rcpt-to != "carl"', 'rcpt-count > 1', 'remote-ip == "192.0.2.0/25"',
    'remote-ip == "192.0.2.9-192.0.2.200"', 'remote-ip == "2001:db8::/32"', 'remote-ip == ".example.org"', 'recv-listener == "InboundMail"',
    'sendergroup == "GOOD"', 'reputation < -1.0', 'no-reputation', 'subject == "^Hello"', 'subject == "(?i)FILES"', 'subject != "Bob"', 'subject == "^$"',
    'header("X-Mailer")', 'header("x-mailer") == "mailer [0-9]"', 'header("X-None") == "x"', 'body-contains("bank")', 'body-contains("secret")',
    'body-contains("(?i)secret", 2)', 'only-body-contains("(?i)secret")', 'attachment-contains("secret")', 'every-attachment-contains("secret")',
    'attachment-filename == "\\\\.exe$"', 'attachment-mimetype == "octet"', 'attachment-size > 40', 'attachment-size > 1M', 'body-size > 500',
    'attachment-binary-contains("^MZ")', 'addr-count("To", "Cc") >= 3', "valid", "true", "spf-passed", 'smtp-auth-id-matches("*Any")',
    'mail-from == "[0-9]{3}-[0-9]{4}"',
    'mail-from == "\\.org$"', 'rcpt-to == "^bob@example\\.net$"', 'rcpt-to == "(?i)b[oa]b"', 'header("From") == "@example\\.org>$"',
    'header("X-Mailer") == "[0-9]\\.[0-9]"', 'header("X-Coded") == "(?i)CAFÉ"', 'header("Received") == "b with SMTP"', 'header("From") == "^$"',
    'attachment-mimetype == "^text/plain$"', 'remote-ip == "192.0.2.1" or remote-ip == "::/0"',
]  # fmt: skip


CODED = b"X-Coded: =?utf-8?q?un_caf=C3=A9?=\r\nReceived: from a by b\r\n with SMTP; Mon\r\nFrom:\r\n"


def test_gates_never_change_what_filters_do() -> None:
    """Random filters over random messages: with an else branch a filter has no gate, and must do the same."""
    draw = random.Random(11)

    def condition(depth: int) -> str:
        if depth == 0 or draw.random() < 0.3:
            return draw.choice(CONDITIONS)
        if draw.random() < 0.25:
            return f"not ({condition(depth - 1)})"
        return f"({condition(depth - 1)}) {draw.choice(('and', 'or'))} ({condition(depth - 1)})"

    fired = kept_out = 0
    for _ in range(25):
        filters = []
        for number in range(20):
            nested = f"if ({condition(1)}) {{ log-entry('n{number}'); }}" if draw.random() < 0.3 else f"log-entry('f{number}');"
            filters.append(f"f{number}: if ({condition(3)}) {{ {nested} }}")
        gated = Running("\n".join(filters))
        ungated = Running("\n".join(f"{one} else {{ no-op(); }}" for one in filters))
        for _ in range(6):
            facts: dict[str, Any] = {
                "sender": draw.choice(
                    ("ann@example.org", "ANN@example.org", "", "xy@example.com", '"ann@home"@example.org', "x555-1234@münchen.example")
                ),
                "recipients": draw.choice((("bob@example.net",), ("bob@EXAMPLE.net", "carl@example.net"), ("böb@example.net",), ())),
                "client_address": draw.choice(("192.0.2.1", "192.0.2.130", "2001:db8::7", "::ffff:192.0.2.1", "unix", "")),
                "reputation": draw.choice((None, -2.0, 3.0)),
                "sender_group": draw.choice(("GOOD", "")),
                "remote_host": draw.choice(("", "mx.example.org")),
                "identifier": "fixed",
                "user": draw.choice(("", "ann")),
            }
            raw = draw.choice((b"", CODED)) + draw.choice((MAIL, WITH_ATTACHMENTS))
            found = gated.run(raw, **facts).log_entries
            assert found == ungated.run(raw, **facts).log_entries
            fired += len(found)
            kept_out += len(filters) - len(gated.plan.candidates(gated.view(raw, **facts)))
    assert fired > 300
    assert kept_out > 300


FINANCE = Dictionary.of("finance", {"budget": 2, "ledger": 3})


def test_a_dictionary_weighs_the_message_as_earlier_filters_left_it() -> None:
    running = Running(
        """
        a: if (subject == "^Files$") { edit-body-text("report", "ledger ledger"); }
        b: if (dictionary-match("finance", 6)) { tag-message("heavy"); drop-attachments-by-name("notes"); }
        c: if (attachment-dictionary-match("finance")) { tag-message("attached"); }
        d: if (subject == "^Files$") { edit-body-text("ledger", "book"); edit-header-text("Subject", "Files", "budget"); }
        e: if (subject-dictionary-match("finance", 2) and not body-dictionary-match("finance")) { tag-message("subject"); }
        """,
        FINANCE,
    )
    raw = WITH_ATTACHMENTS.replace(b"seven", b"budget")
    assert running.run(raw).tags == ["heavy", "subject"]
    assert running.run(MAIL).is_empty


def test_without_an_edit_a_dictionary_is_not_counted_again() -> None:
    running = Running('a: if (dictionary-match("finance")) { insert-header("X", "1"); } b: if (header("X")) { no-op(); }', FINANCE)
    view = running.view(MAIL.replace(b"account", b"budget"))
    before = view.dictionaries
    assert [step.filter for step in running.plan.run(view).trail] == ["a", "b"]
    assert view.dictionaries is before


def test_an_attachment_that_is_known_by_its_hash_is_taken_out() -> None:
    program = base64.b64decode("TVqQAAMAAAAEAAAA//8AALgAAAAAAAAAQAAAAAAAAAA=")
    known = Dictionary.from_text("known", f"# esa: kind = hashes\n{hashlib.sha1(program).hexdigest()}, 4\n")
    text = 'a: if (attachment-dictionary-match("known", 4)) { drop-attachments-where-dictionary-match("known", 4); log-entry("$dropped_filename"); }'
    running = Running(text, known)
    assert running.run(WITH_ATTACHMENTS).log_entries == ["setup.exe"]
    assert running.run(WITH_ATTACHMENTS.replace(b"TVqQ", b"TVqR")).is_empty


def test_entries_that_stand_in_addresses_are_hits() -> None:
    people = Dictionary.from_text("people", "# esa: kind = addresses\nbob@example.net\n@example.org\n")
    running = Running('a: if (rcpt-to-dictionary-match("people") or mail-from-dictionary-match("people", 5)) { no-op(); }', people)
    view = running.view(recipients=("bob@example.net", "x@example.com"))
    running.plan.run(view)
    assert view.hits[("rcpt-to", "bob@example.net", "people")] == {"bob@example.net": 1}
    assert {where for where, _, _ in view.hits} <= {"rcpt-to", "mail-from"}


def test_entries_that_stand_in_a_header_field_are_hits_once() -> None:
    text = 'a: if (header-dictionary-match("words", "X-Note", 5) or header-dictionary-match("words", "Subject", 5)) { no-op(); }'
    running = Running(text, Dictionary.from_text("words", "quarterly\nstatement\n"))
    raw = b"X-Note: quarterly\r\nSubject: your statement\r\n\r\nbody\r\n"
    view = running.view(raw)
    running.plan.run(view)
    heard = view.report.checks["dictionaries"].get("words")
    found = dict(heard["terms"]) if isinstance(heard, Mapping) else {}
    for terms in view.hits.values():
        assert not found.keys() & terms.keys()
        found |= terms
    assert found == {"quarterly": 1, "statement": 1}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("carl@example.net", ("carl@example.net",)),
        ("Carl <carl@Example.NET>, carl@example.net, dora@example.net", ("carl@example.net", "dora@example.net")),
        ("a@b.example> NOTIFY=NEVER", ()),
        ("nobody, <>, @, x@, a b@c.example", ()),
        ("mallory@x.example\r\n RCPT", ()),
    ],
)
def test_addresses_that_an_author_wrote_are_taken_only_if_they_are_some(written: str, expected: tuple[str, ...]) -> None:
    raw = MAIL.replace(b"X-Mailer: test mailer 1.0", b"X-To: " + written.encode())
    outcome = run("a: if (true) { alt-rcpt-to(\"$Header['X-To']\"); bcc(\"$Header['X-To']\"); notify(\"$Header['X-To']\"); }", raw)
    assert outcome.recipients == expected
    assert [copy.addresses for copy in outcome.blind_copies] == ([expected] if expected else [])
    assert [notice.addresses for notice in outcome.notices] == ([expected] if expected else [])


@pytest.mark.parametrize("word", ["alt-rcpt-to", "bcc", "bcc-scan", "notify", "notify-copy"])
def test_an_address_in_a_filter_that_is_none_is_told(word: str) -> None:
    [problem] = problems_of(f"a: if (true) {{ {word}('carl@example.net, dora'); }}")
    assert problem == "error 'dora' is no address"


def test_an_interface_that_is_not_there_makes_a_filter_invalid() -> None:
    [problem] = problems_of("a: if (recv-int == 'Data 2') { drop(); }", Scope(interfaces=frozenset({"Data 1"})))
    assert problem == "invalid there is no interface 'Data 2', so the filter does not run"


def test_a_type_of_file_that_is_none_is_told_with_the_nearest() -> None:
    [problem] = FilterPlan(read("a: if (true) { drop-attachments-by-filetype('Executables'); }").filters, Scope()).problems
    assert (problem.what, problem.mend) == ("no type of file is called 'Executables'", "did you mean 'executable'?")
    assert problems_of("a: if (true) { drop-attachments-by-filetype('EXE'); drop-attachments-by-filetype('wps'); }") == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("out", []),
        ("$RecvInt", []),
        ("outt", ["warning there is no delivery interface 'outt', so the message is sent from the usual one"]),
    ],
)
def test_a_delivery_interface_that_is_not_there_is_told_and_the_filter_runs_all_the_same(name: str, told: list[str]) -> None:
    scope = Scope(delivery_interfaces=frozenset({"out"}))
    assert problems_of(f"a: if (true) {{ alt-src-host('{name}'); }}", scope) == told
