"""`esa queue retry|bounce|delete|redirect`: what is done to entries, by the running deliver process or, without one, here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from esa.cli.state import ask_or_do, find_state, nothing_like, state_options
from esa.cli.terminal import counted, json_option, print_json, say

if TYPE_CHECKING:
    from esa.store.selection import Selection

_Command = TypeVar("_Command", bound=Callable[..., object])
_yes = click.option("--yes", is_flag=True, help="Do not ask.")
_all = click.option("--all", "everything", is_flag=True, help="All entries that are not in flight just now.")


def selection_options(function: _Command) -> _Command:
    """Add --destination, --from and --to; what is given must all hold."""
    function = click.option("--to", "recipient", default="", metavar="ADDRESS", help="To this recipient, or @domain.")(function)
    function = click.option("--from", "sender", default="", metavar="ADDRESS", help="From this reverse-path, @domain, or '<>'.")(function)
    return click.option("--destination", default="", metavar="NAME", help="For this destination, as `esa queue hosts` names it.")(function)


def selection_of(keys: tuple[str, ...], destination: str, sender: str, recipient: str) -> Selection:
    """What the options say."""
    from esa.store.selection import Selection

    bare = [text if text == "<>" else text.strip().removeprefix("<").removesuffix(">") for text in (sender, recipient)]
    return Selection(keys or None, destination, *bare)


def _chosen(keys: tuple[str, ...], destination: str, sender: str, recipient: str, *, everything: bool) -> Selection:
    """As `selection_of`; everything only where that is said. Raises click.UsageError."""
    selection = selection_of(keys, destination, sender, recipient)
    if selection.is_everything != everything:
        raise click.UsageError("name identifiers, --destination, --from or --to; or give --all")
    return selection


@click.command()
@json_option
@click.argument("keys", metavar="[ID…]", nargs=-1)
@selection_options
@_all
@state_options
def retry(
    keys: tuple[str, ...],
    destination: str,
    sender: str,
    recipient: str,
    everything: bool,
    as_json: bool,
    state: Path | None,
    config_file: Path | None,
) -> None:
    """Try entries now, failed ones too.

    \b
    Examples:
      esa queue retry 01J9ZK…                        one message
      esa queue retry --destination example.org      all that waits for a destination
      esa queue retry --all                          everything (AsyncOS: delivernow all)

    Destinations that were left alone are tried again at once. What had failed for good gets its whole time anew. What is suspended stays
    suspended. Exit status: 0 done; 2 used wrongly; 3 failed, or there is no such entry.
    """
    selection = _chosen(keys, destination, sender, recipient, everything=everything)
    folder = find_state(state, config_file)
    count, is_running = _request(folder, "retry", selection)
    if keys and not count:
        raise nothing_like(keys, "the queue", "esa queue list --failed")
    _told("retried", count, as_json, "" if is_running else "; they are tried when `esa serve` runs")


@click.command()
@json_option
@click.argument("keys", metavar="[ID…]", nargs=-1)
@selection_options
@_yes
@state_options
def bounce(
    keys: tuple[str, ...],
    destination: str,
    sender: str,
    recipient: str,
    yes: bool,
    as_json: bool,
    state: Path | None,
    config_file: Path | None,
) -> None:
    """Return entries that wait to their senders, as if the next hop had refused them for good.

    \b
    Examples:
      esa queue bounce 01J9ZK…
      esa queue bounce --destination example.org     all that waits for it (AsyncOS: bouncerecipients)
      esa queue bounce --from user@example.net --yes

    Their recipients count as failed; who is told is a matter of the bounce profile, and a null reverse-path is never told. Entries in flight
    and those that have failed already are left as they are. Exit status: 0 done; 2 used wrongly; 3 failed, or there is no such entry.
    """
    selection = _chosen(keys, destination, sender, recipient, everything=False)
    _destroy("bounce", "bounced", "Return", "to their senders?", selection, ("waiting",), yes, as_json, find_state(state, config_file))


@click.command()
@json_option
@click.argument("keys", metavar="[ID…]", nargs=-1)
@selection_options
@_yes
@state_options
def delete(
    keys: tuple[str, ...],
    destination: str,
    sender: str,
    recipient: str,
    yes: bool,
    as_json: bool,
    state: Path | None,
    config_file: Path | None,
) -> None:
    """Delete entries for good: nobody gets this mail, and its sender is not told.

    \b
    Examples:
      esa queue delete 01J9ZK…
      esa queue delete --from '<>' --destination example.org     (AsyncOS: deleterecipients)

    Tracking keeps that it was deleted. Entries in flight are left as they are. Exit status: 0 done; 2 used wrongly; 3 failed, or there is no
    such entry.
    """
    selection = _chosen(keys, destination, sender, recipient, everything=False)
    states = ("waiting", "failed", "in_flight")
    _destroy("delete", "deleted", "Delete", "for good?", selection, states, yes, as_json, find_state(state, config_file))


@click.command()
@json_option
@click.argument("keys", metavar="[ID…]", nargs=-1)
@selection_options
@_all
@click.option("--host", metavar="HOST[:PORT]", help="Next hop, or another node of ours. Port 25 if none is given.")
@click.option("--usual", is_flag=True, help="Back to where their routes say.")
@_yes
@state_options
def redirect(
    keys: tuple[str, ...],
    destination: str,
    sender: str,
    recipient: str,
    everything: bool,
    host: str | None,
    usual: bool,
    yes: bool,
    as_json: bool,
    state: Path | None,
    config_file: Path | None,
) -> None:
    """Send entries that wait to another host, now.

    \b
    Examples:
      esa queue redirect --all --host node2.example.net          all of it (AsyncOS: redirectrecipients)
      esa queue redirect --destination example.org --host [192.0.2.7]:2525
      esa queue redirect --all --usual                           back to the routes

    That host has to relay for this one, or mail is refused there and bounces: try it with one message first. Entries in flight stay where
    they are: suspend delivery first if all is to go. Exit status: 0 done; 2 used wrongly; 3 failed, or there is no such entry.
    """
    selection = _chosen(keys, destination, sender, recipient, everything=everything)
    if (host is None) != usual:
        raise click.UsageError("give --host HOST[:PORT], or --usual")
    mailhost = "" if host is None else _mailhost(host)
    folder = find_state(state, config_file)
    if not yes:
        count = _count(folder, selection, ("waiting",))
        click.confirm(f"Send {counted(count, 'entry', 'entries')} to {mailhost or 'their usual routes'}?", abort=True, err=True)
    count, _ = _request(folder, "redirect", selection, mailhost=mailhost)
    if keys and not count:
        raise nothing_like(keys, "the queue", "esa queue list")
    _told("redirected", count, as_json, "")


def _mailhost(text: str) -> str:
    """host:port, as a policy's next hop is kept. Raises click.BadParameter."""
    from esa.config.values import split_route

    bare = text.strip()
    has_port = bare.endswith("]") is False and ":" in bare.rpartition("]")[2]
    place = split_route(bare if has_port else f"{bare}:25")
    if place is None:
        raise click.BadParameter(
            f"{text!r} is no host: write relay.example.net, relay.example.net:2525 or [192.0.2.7]:25", param_hint="--host"
        )
    name, port = place
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def _destroy(
    verb: str,
    done: str,
    question: str,
    end: str,
    selection: Selection,
    states: tuple[str, ...],
    yes: bool,
    as_json: bool,
    folder: Path,
) -> None:
    count = _count(folder, selection, states)
    if not count:
        if selection.keys is not None:
            raise nothing_like(selection.keys, "the queue", "esa queue list")
        _told(done, 0, as_json, "")
        return
    if not yes:
        click.confirm(f"{question} {counted(count, 'entry', 'entries')} {end}", abort=True, err=True)
    did, _ = _request(folder, verb, selection)
    _told(done, did, as_json, "" if did == count else f"; {count - did:,} are in flight or gone meanwhile")


def _count(state: Path, selection: Selection, states: tuple[str, ...]) -> int:
    from esa.store.queue_view import QueueView

    view = QueueView.open(state)
    if view is None:
        return 0
    try:
        return sum(entry.state in states for entry in view.selected(selection))
    finally:
        view.close()


def _request(state: Path, verb: str, selection: Selection, **more: str) -> tuple[int, bool]:
    """Have the running deliver process do it, or do it here. Returns how many, and whether a process did it."""
    import time

    from esa.gateway.delivery.open_queue import OpenQueue, obey, socket_path

    request = {"verb": verb, **selection.to_request(), **more}

    def do() -> object:
        with OpenQueue(state) as queue:
            return obey(queue, request, time.time())

    answer, is_running = ask_or_do(socket_path(state), request, do)
    assert isinstance(answer, dict)
    return int(answer["count"]), is_running


def _told(verb: str, count: int, as_json: bool, note: str) -> None:
    if as_json:
        print_json({verb: count})
    else:
        say(f"{verb} {counted(count, 'entry', 'entries')}{note}")
