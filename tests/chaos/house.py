"""A gateway for the scenarios: no opinion about mail, three Maildirs to deliver to, a quarantine, short retries; with faults to arm or not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.faults import Faults
from tests.end_to_end.running import Gateway

HERE, ONE, TWO = "b@example.org", "b@one.example.org", "b@two.example.org"  # a Maildir each; a message for all of them is split
HELD = "held@example.org"  # its mail goes to a quarantine
UNSCORED = "[scan]\nanti_spam = false\n"
RETRIES = 'retry_initial = "1 s"\nretry_max = "1 s"\n'
ROUTES = "".join(f'[[smtp_route]]\ndomains = ["{name}.example.org"]\nhosts = ["maildir:{name.title()}"]\n' for name in ("one", "two"))
KEPT = '[[bounce_profile]]\nname = "Default"\nsend_hard_bounces = false\n'  # what fails stays in the queue, where the ledger finds it
FILTERS = "held: if (rcpt-to == '^held@') { quarantine('Legal'); }\n"


def house(folder: Path, *, workers: int = 1, delivery: str = "", more: str = "", routes: str = ROUTES) -> Gateway:
    """A gateway, not yet started. `delivery` are further lines of that table."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mail.filters").write_text(FILTERS)
    tables = f'{UNSCORED}[filters]\nfiles = ["mail.filters"]\n[delivery]\n{RETRIES}{delivery}\n{KEPT}{routes}{more}'
    return Gateway(folder, workers=workers, more=tables)


@contextlib.contextmanager
def with_faults(gateway: Gateway) -> Iterator[Faults]:
    """Start it with faults.c loaded, and end it afterwards, whatever the state."""
    faults = Faults(gateway.folder)
    gateway.environment = faults.environment
    gateway.start()
    try:
        yield faults
    finally:
        faults.disarm()
        gateway.end()


def deaths(gateway: Gateway) -> int:
    """Processes that ended although nobody asked them to."""
    return gateway.log.read_text("utf-8", "replace").count("event=process.ended")


def tracebacks(gateway: Gateway) -> int:
    """Lines that begin what Python prints of a fault that nobody named."""
    return gateway.log.read_text("utf-8", "replace").count("\nTraceback ")
