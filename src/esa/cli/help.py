"""`esa help TOPIC`: what needs more than the help page of one command."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Callable, Iterator, Mapping

import click

from esa.cli.program import DONE
from esa.cli.terminal import json_option, print_json


def _tls_modes() -> Iterator[tuple[str, Mapping[str, str]]]:
    from esa.policy.tls_modes import EXPLAINED

    for mode, (does, attacker) in EXPLAINED.items():
        yield mode, {"what it does": does, "what an active attacker can still do": attacker}


def _filters() -> Iterator[tuple[str, Mapping[str, str]]]:
    from esa.policy.filters.words import actions, conditions, usage_of

    for kind, words in (("condition", conditions()), ("action", actions())):
        for word in words.values():
            state = f" Refused: {word.refused}." if word.refused else f" Waits for {word.waits_for}." if word.waits_for else ""
            yield usage_of(word), {kind: f"{word.sentence}{state}"}


# topic → (one line, what makes its entries: a name, and texts by heading)
TOPICS: Mapping[str, tuple[str, Callable[[], Iterator[tuple[str, Mapping[str, str]]]]]] = {
    "tls-modes": ("How mail is sent to a destination, and what an active attacker can still do under each TLS mode.", _tls_modes),
    "filters": ("The conditions and actions of message filters and content filters, and what each takes.", _filters),
}


@click.command("help", short_help="Explain a topic.")
@click.argument("topic", required=False)
@json_option
def command(topic: str | None, as_json: bool) -> int:
    """Explain a topic.

    \b
    Examples:
      esa help                 the topics
      esa help filters         conditions and actions of filters
      esa help tls-modes       TLS modes of delivery, and what each protects from

    Each command has a help page of its own: esa COMMAND --help.
    """
    if topic is None:
        for name, (line, _) in TOPICS.items():
            click.echo(f"{name:<14}{line}")
        return DONE
    if topic not in TOPICS:
        near = difflib.get_close_matches(topic, TOPICS, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise click.BadParameter(f"there is no topic {topic!r}. {hint}All topics: {', '.join(TOPICS)}.", param_hint="TOPIC")
    line, entries = TOPICS[topic]
    if as_json:
        print_json({"topic": topic, "entries": [{"name": name, **texts} for name, texts in entries()]})
        return DONE
    click.echo(line)
    for name, texts in entries():
        click.echo(f"\n{name}")
        for heading, text in texts.items():
            click.echo(textwrap.fill(f"{heading}: {text}", 110, initial_indent="  ", subsequent_indent="    "))
    return DONE
