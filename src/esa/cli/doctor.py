"""`esa doctor`: looks at this installation and says what to mend. Changes nothing: the file it tries to write is removed."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import click

from esa import __version__
from esa.cli.program import DONE, FOUND
from esa.cli.terminal import coloured, json_option, print_json, printable
from esa.errors import EsaError

SPACE_NEEDED = 1 << 30  # octets; under it a busy gateway fills the disk before anybody looks
SPACE_LEAST = 64 << 20  # under it nothing should start
TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
TIMEX_OCTETS = 256  # more than struct timex has on any Linux

# extra → the modules it brings, and what they are for
EXTRAS = {
    "gateway": (
        ("uvloop", "aiosmtpd", "pydantic", "tomlkit", "sqlalchemy", "prometheus_client", "argon2", "dns"),
        "esa serve, queue, quarantine, track, cert, tlsverify",
    ),
    "learning": (("sklearn", "zstandard"), "esa train, and archives ending in .zst"),
}

NO_VIRUS_ENGINE = "there is no virus engine yet: no mail is looked at for viruses, whatever virus_check of a mail flow policy says"
State = Literal["good", "note", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `note` needs nobody to act; `bad` keeps something from working, and `mend` says what to do."""

    name: str
    state: State
    text: str
    mend: str = ""


@click.command("doctor", short_help="Check this installation and say what to mend.")
@json_option
@click.option("--state", "state_folder", type=click.Path(path_type=Path), default=Path("state"), show_default=True, help="State folder.")
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:2525", show_default=True, help="Where the gateway shall listen.")
@click.option("--model", type=click.Path(path_type=Path), help="Model file to check instead of the bundled one.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration whose capabilities are looked at too.")
def command(as_json: bool, state_folder: Path, listen: str, model: Path | None, config_file: Path | None) -> int:
    """Check this installation and say what to mend.

    \b
    Examples:
      esa doctor
      esa doctor --json --state /var/lib/esa --listen 0.0.0.0:25

    Looks at Python, the native core, the model and its digest, the optional packages, the state folder and the space on its
    disk, the port, and the clock; with --config, at what that configuration switches off.

    Exit status: 0 all is well, 1 something is to be mended, 2 used wrongly.
    """
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter(f"{listen!r} is no HOST:PORT, as 127.0.0.1:2525", param_hint="--listen")
    findings = list(examine(state_folder, host.strip("[]"), int(port), model))
    if config_file is not None:
        findings += _reputation(config_file)
        findings += _recorder(config_file)
        findings += _certificates(config_file)
        findings.append(Finding("viruses", "note", NO_VIRUS_ENGINE))
    good = all(finding.state != "bad" for finding in findings)
    if as_json:
        print_json({"version": __version__, "good": good, "findings": [asdict(finding) for finding in findings]})
    else:
        signs = {"good": coloured("good", "green"), "note": coloured("note", "yellow"), "bad": coloured("BAD ", "red")}
        for finding in findings:
            click.echo(f"{signs[finding.state]}  {finding.name:<13}{printable(finding.text)}")
            if finding.mend:
                click.echo(f"{'':19}{printable(finding.mend)}")
    return DONE if good else FOUND


def examine(state_folder: Path, host: str, port: int, model: Path | None) -> Iterator[Finding]:
    """Everything doctor looks at, in the order in which things depend on one another."""
    yield _python()
    core = _core()
    yield core
    if core.state != "bad":
        yield _model(model)
    yield from _extras()
    yield from _state(state_folder)
    yield _port(host, port)
    yield _clock()


def _python() -> Finding:
    text = f"{platform.python_implementation()} {platform.python_version()}, esa {__version__}"
    return Finding("python", "good", text)


def _core() -> Finding:
    """Whether the native core is built for this Python, and reads a message right."""
    try:
        import esa_core

        subject = esa_core.parse(b"Subject: =?utf-8?q?caf=C3=A9?=\r\n\r\n").subject
    except (ImportError, AttributeError) as error:
        return Finding(
            "core", "bad", f"the native core cannot be loaded: {error}", "Build it: make install, or pip install esa-appliance again."
        )
    if subject != "café":
        return Finding("core", "bad", f"the native core misreads a message: {subject!r}", "Build it anew: make clean install.")
    return Finding("core", "good", f"native core in {Path(esa_core.__file__).parent}")


def _model(path: Path | None) -> Finding:
    """Whether the model is whole and can score."""
    try:
        from esa.engine.scanner import Scanner

        scanner = Scanner(model=path)
        report = scanner.scan(b"Subject: doctor\r\n\r\nIs the scanner well?\r\n")
    except EsaError as error:
        where = f"{error.where}: " if error.where else ""
        return Finding("model", "bad", f"{where}{error.what}", error.mend or "")
    return Finding(
        "model",
        "good",
        f"{scanner.model.name}, digest {scanner.model.digest[:16]}, scores: {report.score:.1f} for a message of one sentence",
    )


def _extras() -> Iterator[Finding]:
    for extra, (modules, purpose) in EXTRAS.items():
        absent = [module for module in modules if importlib.util.find_spec(module) is None]
        if absent:
            mend = f"For {purpose}: pip install 'esa-appliance[{extra}]'"
            yield Finding(extra, "note", f"not installed: {', '.join(absent)}", mend)
        else:
            yield Finding(extra, "good", f"installed: {', '.join(modules)}")


def _state(folder: Path) -> Iterator[Finding]:
    """Whether state can be kept there, and how much room there is. If it is not there yet, the folder it would be made in."""
    where = folder.resolve()
    while not where.exists():
        where = where.parent
    if not where.is_dir():
        yield Finding("state", "bad", f"{where} is no folder", "Name another folder with --state.")
        return
    try:
        with tempfile.NamedTemporaryFile(dir=where, prefix=".esa-doctor-") as probe:
            probe.write(b"doctor")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        mend = f"Make it writable for the user {os.geteuid()}, or name another folder with --state."
        yield Finding("state", "bad", f"{where} cannot be written: {error.strerror}", mend)
        return
    made = "" if where == folder.resolve() else f" (made in {where} at the first start)"
    yield Finding("state", "good", f"{folder}{made} can be written and synced")
    free = shutil.disk_usage(where).free
    text = f"{free / 2**30:,.1f} GiB free for state"
    if free < SPACE_LEAST:
        yield Finding("space", "bad", text, f"Make room: under {SPACE_LEAST >> 20} MiB mail is refused with 452.")
    elif free < SPACE_NEEDED:
        yield Finding("space", "note", text, "Make room before this goes into service.")
    else:
        yield Finding("space", "good", text)


def _port(host: str, port: int) -> Finding:
    """Whether the gateway could listen there now."""
    where = f"{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except PermissionError:
        mend = "Ports under 1024 need root or CAP_NET_BIND_SERVICE."
        return Finding("port", "bad", f"{where} may not be opened by this user", mend)
    except OSError as error:
        if _answers(host, port):
            return Finding(
                "port", "note", f"{where} is in use: is the gateway running already?", "Else stop that program or choose another port."
            )
        return Finding("port", "bad", f"{where} cannot be opened: {error.strerror}", "Choose another address or port.")
    return Finding("port", "good", f"{where} is free")


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host or "127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


def _reputation(config_file: Path) -> Iterator[Finding]:
    """Whether senders can have a reputation, and how much is known. AsyncOS 7.6 fell silent where this says so."""
    from esa.config.advice import ANTI_SPAM_OFF
    from esa.config.load import load
    from esa.config.reputation import makes_points
    from esa.store.reputation import ReputationView

    try:
        configuration = load(config_file)
        view = ReputationView.open(configuration.state)
        known = 0 if view is None else len(view.all())
    except EsaError as error:
        yield Finding("reputation", "bad", f"{error.where}: {error.what}" if error.where else error.what, error.mend or "")
        return
    if view is not None:
        view.close()
    if not configuration.scan.anti_spam:
        mend = "Set [scan] anti_spam = true, or take the ranges of reputation (SBRS) out of the sender groups."
        yield Finding("reputation", "bad", ANTI_SPAM_OFF, mend)
    elif not configuration.reputation.learn and not makes_points(configuration.dns_list):
        yield Finding("reputation", "note", "nothing makes one: learning is off, and no DNS list has points", "See docs/reputation.md.")
    else:
        yield Finding("reputation", "good", f"{known:,} histories of senders, {len(configuration.dns_list)} DNS lists")


def _recorder(config_file: Path) -> Iterator[Finding]:
    """Whether messages are recorded, and how many were lost."""
    from esa.cli.state import size_for_people
    from esa.config.load import load
    from esa.store.recorder import status_of
    from esa.store.recorder_folder import FOLDER

    try:
        configuration = load(config_file)
        status = status_of(configuration.state / FOLDER)
    except EsaError as error:
        yield Finding("recorder", "bad", f"{error.where}: {error.what}" if error.where else error.what, error.mend or "")
        return
    text = f"{status.messages:,} messages in {size_for_people(status.octets)}, {status.lost:,} lost, {status.damaged:,} damaged"
    if not configuration.recorder.enabled:
        text = f"off: audits and rehearsals have nothing to go by; {text}"
    if configuration.recorder.record_content:
        text += f"; contents of {status.contents:,}, encrypted"
    is_well = configuration.recorder.enabled and not status.lost and not status.damaged
    yield Finding("recorder", "good" if is_well else "note", text, "" if is_well else "See docs/recorder.md.")


def _certificates(config_file: Path) -> Iterator[Finding]:
    """The first thing wrong with each certificate; `esa cert check` tells all."""
    from esa.config.load import load
    from esa.gateway.certificates.checking import check_configuration
    from esa.gateway.certificates.files import system_authorities

    try:
        configuration = load(config_file)
        if not configuration.certificate:
            mend = "Make one (esa cert self-signed, esa cert csr), and name it in [[certificate]]."
            yield Finding("certificate", "note", "there is none: the listeners speak no TLS", mend)
            return
        for checked in check_configuration(configuration, now=datetime.now(UTC), authorities=system_authorities()):
            worst = next((one for one in checked.findings if one.severity == "fault"), None)
            worst = worst or next((one for one in checked.findings if one.severity == "warning"), None)
            if worst is None:
                yield Finding("certificate", "good", checked.title)
            else:
                yield Finding("certificate", "bad" if worst.severity == "fault" else "note", f"{checked.target}: {worst.what}", worst.mend)
    except EsaError as error:
        yield Finding("certificate", "bad", f"{error.where}: {error.what}" if error.where else error.what, error.mend or "")


def _clock() -> Finding:
    """Whether the clock can be right: not before this program was written, and kept by a time service."""
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if time.time() < Path(__file__).stat().st_mtime - 86_400:
        return Finding(
            "clock", "bad", f"{now} is before this program was installed", "Set the clock; run a time service (chrony, systemd-timesyncd)."
        )
    if _unsynchronised():
        return Finding(
            "clock",
            "note",
            f"{now}, kept by no time service",
            "Run one (chrony, systemd-timesyncd): records and signatures carry the time.",
        )
    return Finding("clock", "good", now)


def _unsynchronised() -> bool:
    try:
        adjtimex = ctypes.CDLL(None).adjtimex
    except (AttributeError, OSError):
        return False  # not Linux: the kernel does not say
    return bool(adjtimex(ctypes.create_string_buffer(TIMEX_OCTETS)) == TIME_ERROR)  # all zero: asks and sets nothing
