"""`esa bench`: speed of the library on recorded mail, or the same mail played into any SMTP server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from esa.cli.program import DONE, FAILED, FOUND
from esa.cli.terminal import json_option, print_json, printable_lines, progress, say
from esa.errors import CorpusError

if TYPE_CHECKING:
    from esa.cli.player import Outcome

MEMORY = 1 << 30  # octets of mail kept in memory; what a corpus has beyond is not measured, and said so
SLICE_SECONDS = 0.5  # a rate is taken over slices at least this long
SLICES = 5


class Bench(click.Command):
    """`esa bench tls` is a command of its own; every other word is a corpus."""

    def make_context(self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any) -> click.Context:
        if args[:1] == ["tls"]:
            from esa.cli.bench_tls import command as measure_tls

            return measure_tls.make_context("bench tls", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command("bench", cls=Bench, short_help="Measure speed: of the library, an SMTP server, or TLS.")
@click.argument("paths", metavar="CORPUS...", nargs=-1, required=True)
@json_option
@click.option("--model", type=click.Path(path_type=Path), help="Model file to scan with instead of the bundled one.")
@click.option("--keep-headers", is_flag=True, help="Keep header fields that give the label away; by default they are dropped.")
@click.option("--smtp", "server", metavar="HOST:PORT", help="Play the messages into this SMTP server instead of scanning them.")
@click.option("--sessions", metavar="N", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Sessions held open at once.")
@click.option("--messages", metavar="N", type=click.IntRange(1), help="Messages to send, the corpus over and over [default: all once].")
@click.option("--sender", default="bench@example.org", show_default=True, help="Reverse-path of every message.")
@click.option("--recipient", default="bench@example.net", show_default=True, help="Forward-path of every message.")
@click.option("--per-session", metavar="N", type=click.IntRange(1), default=100, show_default=True, help="Messages in one session.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=60.0, show_default=True, help="Seconds to wait for one reply.")
def command(
    paths: tuple[str, ...],
    as_json: bool,
    model: Path | None,
    keep_headers: bool,
    server: str | None,
    sessions: int,
    messages: int | None,
    sender: str,
    recipient: str,
    per_session: int,
    timeout: float,
) -> int:
    """Measure speed: of the library, or of an SMTP server.

    \b
    Examples:
      esa bench tls                     (handshakes and encryption; esa bench tls --help)
      esa bench spamassassin.tar.zst
      esa bench corpus/ --smtp 127.0.0.1:2525 --sessions 20 --messages 10000

    Without --smtp the messages are read into memory and scanned over and over on one core; printed are messages and MB per
    second of CPU time, as median and range of five slices.

    With --smtp they are sent, lines ended by CR LF and dots stuffed, over N sessions at once, pipelined where the server
    offers it. Printed are the rate, percentiles of the time from the end of the data to its reply, and how often each reply
    came. Point this only at a server of your own: the corpus may be real spam.

    Exit status: 0 measured, 1 the server refused some messages, 2 used wrongly, 3 failed or some inputs unreadable.
    """
    from esa.learning.leaks import LeakList

    clean = None if keep_headers else LeakList.load().strip
    with progress("reading") as meter:
        mail, faults = load(paths, clean, meter.advance)
    if not mail:
        for fault in faults:
            say(f"unreadable: {printable_lines(str(fault))}")
        raise CorpusError(
            "there is no message to measure with", where=", ".join(paths), mend="Name a file, folder, mbox or archive with mail."
        )
    if server is None:
        found = DONE
        _print_library(measure(mail, model), as_json)
    else:
        from esa.cli.player import Plan, play

        host, port = _endpoint(server)
        plan = Plan(host, port, sessions, messages or len(mail), sender, recipient, per_session, timeout)
        with progress("sending", plan.messages) as meter:
            outcome = play(mail, plan, meter.advance)
        _print_outcome(outcome, as_json)
        found = FOUND if outcome.accepted < plan.messages else DONE
    for fault in faults:
        say(f"unreadable: {printable_lines(str(fault))}")
    return FAILED if faults else found


def load(
    paths: Iterable[str], clean: Callable[[bytes], bytes] | None, advance: Callable[[float], None]
) -> tuple[list[bytes], list[CorpusError]]:
    """The messages of all corpora, up to MEMORY octets, and what could not be read."""
    from esa.learning.corpora import iter_corpora

    mail: list[bytes] = []
    faults: list[CorpusError] = []
    octets = 0
    for item in iter_corpora(paths):
        if item.content is None:
            faults.append(item.error or CorpusError("cannot be read", where=item.path))
            continue
        mail.append(clean(item.content) if clean else item.content)
        octets += len(mail[-1])
        advance(1.0)
        if octets > MEMORY:
            say(f"the first {len(mail):,} messages fill {MEMORY >> 20} MiB; the rest is not measured")
            break
    return mail, faults


@dataclass(frozen=True, slots=True)
class Speed:
    """Rates of each slice, by CPU time of this thread; `octets` is the mean size of a message."""

    messages: int
    octets: float
    rates: tuple[float, ...]  # messages per second of CPU, ascending

    @property
    def median(self) -> float:
        return self.rates[len(self.rates) // 2]


def measure(mail: Sequence[bytes], model: Path | None = None, *, slices: int = SLICES, seconds: float = SLICE_SECONDS) -> Speed:
    """Scan `mail` over and over and take the rate of each slice: whole passes, at least `seconds` of CPU each."""
    from esa.engine.scanner import Scanner

    scanner = Scanner(model=model)
    rates = []
    with progress("scanning", slices, unit="slices") as meter:
        for _ in range(slices):
            began, scanned = time.thread_time(), 0
            while (spent := time.thread_time() - began) < seconds or not scanned:
                for _report in scanner.scan_many(mail):
                    pass
                scanned += len(mail)
            rates.append(scanned / spent)
            meter.advance()
    return Speed(len(mail), sum(map(len, mail)) / len(mail), tuple(sorted(rates)))


def _print_library(speed: Speed, as_json: bool) -> None:
    micros = 1e6 / speed.median
    if as_json:
        print_json(
            {
                "messages": speed.messages,
                "mean_octets": round(speed.octets, 1),
                "messages_per_second": round(speed.median, 1),
                "messages_per_second_range": [round(speed.rates[0], 1), round(speed.rates[-1], 1)],
                "cpu_us_per_message": round(micros, 2),
                "megabytes_per_second": round(speed.median * speed.octets / 1e6, 1),
            }
        )
        return
    click.echo(f"messages          {speed.messages:,} of {speed.octets:,.0f} octets on average")
    click.echo(f"rate              {speed.median:,.0f} messages/s of CPU ({speed.rates[0]:,.0f} to {speed.rates[-1]:,.0f})")
    click.echo(f"cost              {micros:,.1f} µs a message, {speed.median * speed.octets / 1e6:,.0f} MB/s")


def _endpoint(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise click.BadParameter(f"{text!r} is no HOST:PORT, as 127.0.0.1:2525", param_hint="--smtp")
    return host.strip("[]") or "127.0.0.1", int(port)


def _print_outcome(outcome: Outcome, as_json: bool) -> None:
    if as_json:
        print_json(outcome.to_json())
        return
    click.echo(f"sent              {outcome.sent:,} messages, {outcome.octets / 1e6:,.1f} MB, in {outcome.seconds:,.2f} s")
    click.echo(f"accepted          {outcome.accepted:,} ({outcome.accepted / outcome.seconds:,.0f}/s)")
    shown = ", ".join(f"{name} {value:,.1f} ms" for name, value in outcome.percentiles().items())
    click.echo(f"latency           {shown}")
    for reply, count in outcome.replies.most_common():
        click.echo(f"reply {reply:<11} {count:,}")
    for fault, count in outcome.faults.most_common():
        click.echo(f"{printable_lines(fault)}: {count:,}")
