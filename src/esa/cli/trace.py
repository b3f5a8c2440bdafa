"""`esa trace`: one message through all that decides, stage by stage."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esa.cli.options import address_of, client_of, moment_of
from esa.cli.program import DONE, FOUND
from esa.cli.rehearsing import current_of, mail_of, rehearsing
from esa.cli.state import find_state
from esa.cli.terminal import json_option, print_json, say
from esa.errors import EsaError

if TYPE_CHECKING:
    from esa.gateway.rehearsal.answers import Answers
    from esa.gateway.rehearsal.judgement import Judgement, Mail
    from esa.message.envelope import Session


@click.command("trace", short_help="Show what becomes of a message, and what decides it.")
@click.argument("source", metavar="MESSAGE|ID")
@click.option("--from", "reverse_path", metavar="ADDRESS", help="Reverse-path (MAIL FROM); <> is the null one. [default: the author]")
@click.option("--to", "recipients", metavar="ADDRESS", multiple=True, help="Recipient; several may be given. [default: that of To]")
@click.option("--client", metavar="ADDRESS", help="IP address of the client. [default: one without an address]")
@click.option("--listener", metavar="NAME", help="Listener that it comes to. [default: the first]")
@click.option("--helo", metavar="NAME", help="What the client says in EHLO.")
@click.option("--user", metavar="NAME", help="The client has authenticated as this user, inside TLS.")
@click.option("--at", "moment", metavar="TIME", help="When it comes, as 2026-03-01T12:00. [default: now]")
@click.option("--as", "like", metavar="ID", help="Envelope, client and time of this tracked message; MESSAGE is its content.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration, instead of esa.toml; or a candidate for it.")
@click.option(
    "--against", type=click.Path(path_type=Path), help="Show what differs from this configuration. [default: esa.toml, if another]"
)
@click.option("--state", type=click.Path(path_type=Path), help="State folder, instead of the one in the configuration.")
@click.option(
    "--resolver", "answers_file", type=click.Path(path_type=Path), help="Recorded answers of name servers and directories (JSON)."
)
@click.option(
    "--record", "record_file", type=click.Path(path_type=Path), help="Ask the name servers, and write their answers to this file."
)
@click.option("--all", "shows_all", is_flag=True, help="Show also filters that do nothing.")
@click.option("--no-times", is_flag=True, help="Leave out how long each stage took, so that two runs print the same.")
@click.option("--message", "shows_message", is_flag=True, help="Write the resulting message to standard output, and nothing else.")
@json_option
def command(
    source: str,
    reverse_path: str | None,
    recipients: tuple[str, ...],
    client: str | None,
    listener: str | None,
    helo: str | None,
    user: str | None,
    moment: str | None,
    like: str | None,
    config_file: Path | None,
    against: Path | None,
    state: Path | None,
    answers_file: Path | None,
    record_file: Path | None,
    shows_all: bool,
    no_times: bool,
    shows_message: bool,
    as_json: bool,
) -> int:
    """Show what becomes of a message, and what decides it.

    \b
    Examples:
      esa trace message.eml --from ann@example.net --to bob@example.org --client 192.0.2.1
      esa trace 01J9ZK…                                     a message that has come, as tracking knows it
      esa trace message.eml --config candidate.toml         what would be otherwise than with esa.toml

    The message goes through host access, recipient access, the scan, message filters, mail policies, content filters and dispositions, by the parts
    that the gateway itself uses, without a connection: nothing is sent, written or asked of the network. Each stage shows what came out, the rule
    that decided and where it stands, and why.

    MESSAGE is a file, one message of a mailbox or an archive as `esa scan` names them (box.mbox#3, mail.tar.gz!a/1.eml), or - for standard input. Of a
    tracked message (ID) the content is taken from the recorder, the quarantine or the queue; where it is no longer kept, give the file beside:
    esa trace FILE --as ID.

    Name servers are not asked. With --record FILE they are, and what they answer is written to FILE; --resolver FILE answers from it, so that the same
    comes out again. Such a file may also say which recipients there are and who is in which group, and which clients
    greylisting knows. Rates and directory harvests go by what else a client does, and are left out.

    With --config and another esa.toml in the working folder, or with --against, only stages that differ are shown, both sides.

    Exit status: 0 done; 1 with a candidate: something differs; 2 used wrongly; 3 failed.
    """
    from esa.gateway.rehearsal.answers import Answers

    if answers_file is not None and record_file is not None:
        raise click.UsageError("--resolver answers what --record would ask: give one of them")
    current = current_of(config_file, against)
    if current is not None and (shows_message or record_file is not None):
        raise click.UsageError(
            "--message and --record go with one configuration: leave the other out, with --config alone where no esa.toml is"
        )
    answers = Answers.from_file(answers_file) if answers_file is not None else None
    given = _Given(source, reverse_path, recipients, client, listener, helo, user, moment, like)
    mail = given.mail(state, current if current is not None else config_file)
    judgement = _judge(config_file, state, answers, record_file, mail)
    if shows_message:
        for kept in judgement.kept[:1]:
            sys.stdout.buffer.write(kept.content)
        say(f"{judgement.reply}" if judgement.kept else f"nothing is kept: {judgement.reply}")
        return DONE
    if current is not None:
        before = _judge(current, state, answers, None, mail)
        return _compare(before, judgement, (str(current), str(config_file)), shows_all=shows_all, no_times=no_times, as_json=as_json)
    from esa.cli.trace_text import document, print_judgement

    if as_json:
        print_json(document(judgement, has_times=not no_times))
    else:
        print_judgement(judgement, has_times=not no_times, shows_all=shows_all)
    return DONE


def _judge(config_file: Path | None, state: Path | None, answers: Answers | None, record_file: Path | None, mail: Mail) -> Judgement:
    with rehearsing(config_file, state=state, answers=answers, asks_dns=record_file is not None) as rehearsal:
        judgement = rehearsal.judge(mail)
        if record_file is not None:
            if rehearsal.recording is None:
                say("no name server was asked: no sender group of this configuration needs one")
            else:
                rehearsal.recording.write(record_file)
                say(f"answers written to {record_file}; the same again: --resolver {record_file}")
        return judgement


def _compare(before: Judgement, after: Judgement, names: tuple[str, str], *, shows_all: bool, no_times: bool, as_json: bool) -> int:
    from esa.cli.trace_text import document, print_differences, stage_document
    from esa.gateway.rehearsal.judgement import differences

    found = differences(before, after)
    if as_json:
        told = [
            {
                "stage": one.name,
                "subject": one.subject,
                "current": None if one.before is None else stage_document(one.before, has_times=not no_times),
                "candidate": None if one.after is None else stage_document(one.after, has_times=not no_times),
            }
            for one in found
        ]
        sides = {"current": document(before, has_times=not no_times), "candidate": document(after, has_times=not no_times)}
        print_json({**sides, "differences": told})
    else:
        print_differences(found, names, has_times=not no_times, shows_all=shows_all)
    return FOUND if found else DONE


class _Given:
    """What the command line says of the message."""

    def __init__(
        self,
        source: str,
        reverse_path: str | None,
        recipients: tuple[str, ...],
        client: str | None,
        listener: str | None,
        helo: str | None,
        user: str | None,
        moment: str | None,
        like: str | None,
    ) -> None:
        self._source, self._like = source, like
        self._reverse_path = None if reverse_path is None else address_of(reverse_path, "--from", may_be_null=True)
        self._recipients = tuple(address_of(one, "--to") for one in recipients)
        self._client = None if client is None else client_of(client)
        self._listener, self._helo, self._user = listener, helo, user
        self._moment = None if moment is None else moment_of(moment)

    def mail(self, state: Path | None, config_file: Path | None) -> Mail:
        """The message with all that is known of it. Raises EsaError, StoreError."""
        from esa.gateway.rehearsal.judgement import Mail
        from esa.gateway.rehearsal.remembered import remembered
        from esa.message.envelope import Envelope, Session
        from esa.store.identifier import LENGTH, is_identifier

        is_file = self._source == "-" or _file_of(self._source) is not None
        identifier = self._like
        if not is_file and is_identifier(self._source[:LENGTH].upper()):
            if identifier is not None:
                raise click.UsageError("--as goes with a MESSAGE that is a file")
            identifier = self._source
        elif not is_file:
            raise EsaError(
                "there is no such file, nor is it the identifier of a message", where=self._source, mend="Identifiers: esa track"
            )
        content = _read(self._source) if is_file else None
        if identifier is None:
            assert content is not None
            session = self._session(Session(helo="", received_at=time.time()))
            return mail_of(
                content, session, self._source, reverse_path=self._reverse_path, recipients=self._recipients, default="postmaster"
            )
        known = remembered(find_state(state, config_file), identifier)
        if content is None:
            if known.content is None:
                mend = f"Give the message as a file: esa trace FILE --as {known.id}"
                raise EsaError(f"its content is {known.source}", where=known.id, mend=mend)
            say(f"content from {known.source}")
            content = known.content
        envelope = Envelope(
            known.envelope.reverse_path if self._reverse_path is None else self._reverse_path,
            self._recipients or known.envelope.recipients or ("postmaster",),
            len(content),
            smtputf8=known.envelope.smtputf8,
        )
        return Mail(known.id, content, self._session(known.session), envelope, self._source)

    def _session(self, known: Session) -> Session:
        return replace(
            known,
            client_address=known.client_address if self._client is None else self._client,
            listener=known.listener if self._listener is None else self._listener,
            helo=known.helo if self._helo is None else self._helo,
            user=known.user if self._user is None else self._user,
            received_at=known.received_at if self._moment is None else self._moment,
        )


def _file_of(source: str) -> Path | None:
    """The file that a message stands in: `a.eml`, `box.mbox#3`, `mail.tar.zst!a/1.eml`; None if there is none."""
    for text in (source, source.rpartition("#")[0], source.partition("!")[0]):
        if text and Path(text).exists():
            return Path(text)
    return None


def _read(source: str) -> bytes:
    """The message of this path. Raises EsaError."""
    from esa.learning.corpora import iter_corpus

    path = _file_of(source)
    if path is not None and path.is_dir():
        raise EsaError("this is a folder", where=source, mend="Name one message; for many there is `esa replay`.")
    is_whole = path is None or str(path) == source
    found = list(islice((item for item in iter_corpus(path or source) if is_whole or item.path == source), 2))
    if not found:
        raise EsaError("there is no such message in it", where=source, mend=f"See what there is: esa scan {path}")
    if len(found) > 1:
        raise EsaError("there are several messages", where=source, mend=f"Name one, as {found[0].path}; for many there is `esa replay`.")
    [item] = found
    if item.content is None:
        assert item.error is not None
        raise item.error
    return item.content
