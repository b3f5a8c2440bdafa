"""What `esa trace` and `esa replay` share: opening a rehearsal of a configuration, and making mail of a message in a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esa.errors import EsaError

if TYPE_CHECKING:
    from esa.gateway.rehearsal.answers import Answers
    from esa.gateway.rehearsal.judgement import Mail
    from esa.gateway.rehearsal.rehearsal import Rehearsal
    from esa.message.envelope import Session

DEFAULT_FILE = "esa.toml"


@contextmanager
def rehearsing(
    config_file: Path | None,
    *,
    state: Path | None = None,
    answers: Answers | None = None,
    asks_dns: bool = False,
    explains: bool = True,
    like: Rehearsal | None = None,
) -> Iterator[Rehearsal]:
    """A rehearsal of a configuration file, with what was learned of senders in its state folder, if there is one. Raises EsaError."""
    from esa.config.load import load
    from esa.config.places import Places
    from esa.gateway.rehearsal.rehearsal import Rehearsal
    from esa.store.reputation import ReputationView

    configuration = load(config_file, state=state)
    if state is not None and not state.is_dir():
        raise EsaError("there is no state folder", where=str(state), mend="Give the right one with --state DIR, or leave it out.")
    view = ReputationView.open(configuration.state) if configuration.state.is_dir() else None
    try:
        with Rehearsal(
            configuration,
            answers=answers,
            asks_dns=asks_dns,
            histories=view,
            like=like,
            places=Places.of(config_file),
            explains=explains,
        ) as rehearsal:
            yield rehearsal
    finally:
        if view is not None:
            view.close()


def current_of(config_file: Path | None, against: Path | None) -> Path | None:
    """The configuration that `config_file` is a candidate for: `against`, or an esa.toml in the working folder that is another file.

    None: there is none, or it is not a candidate.
    """
    if against is not None and config_file is None:
        raise click.UsageError("--against compares with a candidate: give that with --config")
    if config_file is None or against is not None:
        return against
    default = Path(DEFAULT_FILE)
    if not default.exists() or (config_file.exists() and default.samefile(config_file)):
        return None
    return default


def mail_of(
    content: bytes, session: Session, name: str, *, reverse_path: str | None = None, recipients: tuple[str, ...] = (), default: str = ""
) -> Mail:
    """A message of a file as mail: who is not given is read from its header, the author as the sender and To as the recipient.

    `default`: the recipient of a message that names none. Its identifier comes of content and envelope, so that it is the same each time.
    """
    from esa.gateway.rehearsal.judgement import Mail
    from esa.message.content import Message
    from esa.message.envelope import Envelope
    from esa.store.identifier import identifier_of

    if reverse_path is None or not recipients:
        parsed = Message(content).parsed
        reverse_path = parsed.from_address if reverse_path is None else reverse_path
        recipients = recipients or (parsed.to_address or default,)
    words = "\0".join((name, reverse_path, *recipients)).encode("utf-8", "surrogatepass")
    identifier = identifier_of(words + b"\0" + content)
    return Mail(identifier, content, session, Envelope(reverse_path, recipients, len(content)), name)
