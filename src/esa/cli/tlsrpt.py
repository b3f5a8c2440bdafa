"""`esa tlsrpt`: what came of TLS with the mail exchangers of each domain, and the reports that domains ask for (RFC 8460)."""

from __future__ import annotations

from pathlib import Path

import click

from esa.cli.program import DONE, FOUND
from esa.cli.state import find_state, iso, local, state_options
from esa.cli.terminal import counted, json_option, print_json, print_table, say


def _chosen(day: str) -> str:
    from datetime import date

    try:
        return date.fromisoformat(day).isoformat() if day else ""
    except ValueError:
        raise click.BadParameter(f"{day!r} is no day, as 2026-11-25", param_hint="--day") from None


@click.group("tlsrpt", short_help="See what came of TLS with other servers, and reports on it.")
def command() -> None:
    """See what came of TLS with other servers, and reports on it.

    \b
    Examples:
      esa tlsrpt show                            all domains of the last days
      esa tlsrpt show example.net --day 2026-11-25
      esa tlsrpt report example.net 2026-11-25   the report of that day, as it is sent
      esa tlsrpt sent                            reports that went out, and days that nobody asked for

    Delivery counts by day (of UTC), domain and policy; for how long is in docs/tls.md. Reports are sent with send_reports = true in [delivery_tls].
    """


@command.command()
@click.argument("domain", required=False, default="")
@click.option("--day", metavar="YYYY-MM-DD", default="", help="This day of UTC alone.")
@click.option("--failures", is_flag=True, help="What failed alone.")
@json_option
@state_options
def show(domain: str, day: str, failures: bool, as_json: bool, state: Path | None, config_file: Path | None) -> int:
    """Show what sessions came to, a line for each result.

    Exit status: 0 no failures, 1 some.
    """
    from esa.message.a_labels import as_a_labels
    from esa.store.tls_results import read

    results, _ = read(find_state(state, config_file), day=_chosen(day), domain=as_a_labels(domain))
    chosen = {one: sessions for one, sessions in results.items() if one.result or not failures}
    if as_json:
        for one, sessions in chosen.items():
            print_json({**one._asdict(), "sessions": sessions})
    elif chosen:
        rows = [
            (one.day, one.domain, one.policy_type, str(sessions), one.result or "success", one.host, one.reason)
            for one, sessions in chosen.items()
        ]
        print_table(("day", "domain", "policy", "sessions", "result", "server", "reason"), rows, right=("sessions",), below=("reason",))
    if not as_json:
        say(counted(sum(chosen.values()), "session"))
    return FOUND if any(one.result for one in chosen) else DONE


@command.command()
@click.argument("domain")
@click.argument("day")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration: state, and who reports.")
def report(domain: str, day: str, config_file: Path | None) -> int:
    """Print the report of one day (of UTC) on DOMAIN, as RFC 8460 has it; nothing is sent.

    Exit status: 0 printed, 1 nothing was counted that day.
    """
    import json

    from esa.config.load import load
    from esa.gateway.delivery.tls_report import make_report
    from esa.gateway.process import deliver_settings
    from esa.message.a_labels import as_a_labels
    from esa.store.tls_results import read

    configuration = load(config_file)
    wanted, name = _chosen(day), as_a_labels(domain)
    results, _ = read(find_state(None, config_file), day=wanted, domain=name)
    if not results:
        say(f"esa: nothing was counted for {name} on {wanted}")
        return FOUND
    click.echo(json.dumps(make_report(wanted, name, results, deliver_settings(configuration).reporter), indent=1))
    return DONE


@command.command()
@click.argument("domain", required=False, default="")
@json_option
@state_options
def sent(domain: str, as_json: bool, state: Path | None, config_file: Path | None) -> None:
    """Show the reports that were sent, and days of domains that want none."""
    from esa.message.a_labels import as_a_labels
    from esa.store.tls_results import read

    _, reports = read(find_state(state, config_file), domain=as_a_labels(domain))
    if as_json:
        for one in reports:
            print_json({**one._asdict(), "at": iso(one.at)})
        return
    if reports:
        print_table(("day", "domain", "at", "sent to"), [(one.day, one.domain, local(one.at), one.told) for one in reports])
    say(counted(len(reports), "report"))
