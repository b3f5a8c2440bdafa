"""Compiled dictionaries and filters' expressions in the state folder: made by one process, mapped by every receiver, changed under load.

    compiled/<digest>.patterns   what the dictionaries and filters of that digest compile to; digest of the dictionaries' octets, of what filters look
                                 for, of the model and of the program's own
    compiled/next                a link to the one that was made last and is not in force yet
    compiled/current             a link to the one in force

service.py runs this module as a process of its own at the start and on SIGHUP, so that a million terms hold up no event loop. It makes the file
if it is absent or cannot be used, checks it, and has `next` lead to it; where nothing is looked for there is no `next`. Receivers are started with
its name; when they are ready service.py puts it in force and the others go, and if they cannot be started it is taken back. Promises: a dictionary
that cannot be compiled changes nothing and is told in the log; a receiver that is started again takes what it was first started with, whatever
stands in the dictionary files by then. Exit status 0: made; 3: failed, told on stderr.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import esa_core
from esa.config.content_filters import rules_of
from esa.config.filters import expand
from esa.config.schema import Configuration
from esa.engine.check import Check, factories
from esa.engine.dictionary import Dictionary
from esa.engine.model import DEFAULT_MODEL, Model
from esa.engine.scanner import Scanner
from esa.errors import ConfigurationError, EsaError
from esa.gateway import events
from esa.gateway.child import configuration_of, die_with_parent
from esa.gateway.events import Event as Log
from esa.policy.content_filter import Rules
from esa.store.folder import make_private, sync_directory, telling

FOLDER = "compiled"
CURRENT, NEXT = "current", "next"
SUFFIX = ".patterns"
FAILED = 3
NICENESS = 10  # mail that is on its way goes first
_DIGITS = 32  # of a digest in a name


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile the dictionaries and filters of a configuration."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they go to the whole group; the parent says when to stop
    parser = argparse.ArgumentParser(prog="esa.gateway.patterns", description="Compiles dictionaries and filters; started by `esa serve`.")
    parser.add_argument("--configuration", type=int, required=True, metavar="FD")
    configuration = configuration_of(parser.parse_args(arguments).configuration)
    events.configure("compile", log_format=configuration.gateway.log_format)
    if not die_with_parent():
        return FAILED
    os.nice(NICENESS)
    try:
        make(configuration)
    except EsaError as error:
        events.error(Log.DICTIONARIES_REFUSED, where=error.where, reason=error.what, mend=error.mend)
        return FAILED
    except Exception as error:
        events.error(Log.PROCESS_FAILED, cause=error)
        return FAILED
    return 0


def is_wanted(configuration: Configuration) -> bool:
    """Whether there may be anything to compile: dictionaries, or files of filters. Raises ConfigurationError for such a file that is not there."""
    return bool(configuration.scan.dictionaries or configuration.content_filter or expand(configuration.filters.files, Path()))


def make(configuration: Configuration) -> Path | None:
    """Compile the dictionaries, and what filters look for, unless that is done already, and have `next` lead to the file.

    None where nothing is looked for: there is no `next` then. Raises ConfigurationError, ModelError and StoreError; what is in force stays in any case.
    """
    folder = make_private(configuration.state / FOLDER)
    dictionaries = [(Path(name), _read(Path(name))) for name in configuration.scan.dictionaries]
    model = _model(configuration)
    checks = checks_of(rules_of(configuration))
    if not dictionaries and checks is None:
        with telling(folder):
            (folder / NEXT).unlink(missing_ok=True)
        return None
    path = folder / f"{_digest(dictionaries, model, checks)[:_DIGITS]}{SUFFIX}"
    if not _is_usable(path, model, checks):
        began = time.monotonic()
        made = Scanner(
            model=model,
            checks=checks,
            dictionaries=[Dictionary.from_octets(name.stem, octets, where=str(name)) for name, octets in dictionaries],
        )
        with telling(folder):
            made.save(path)
        Scanner(model=model, checks=checks, compiled=path)
        seconds = round(time.monotonic() - began, 1)
        events.info(
            Log.DICTIONARIES_COMPILED, compiled=path.name, dictionaries=len(dictionaries), octets=path.stat().st_size, seconds=seconds
        )
    with telling(folder):
        link = folder / f".{NEXT}"
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
        link.replace(folder / NEXT)
        sync_directory(folder)
    return path


def made_last(state: Path) -> str:
    """The name of the file that `make` made, for receivers; empty where it made none. Raises StoreError."""
    following = state / FOLDER / NEXT
    with telling(state / FOLDER):
        return following.readlink().name if following.is_symlink() else ""


def put_in_force(state: Path) -> None:
    """Of the files keep only the one that was made last. Raises StoreError."""
    folder = state / FOLDER
    with telling(folder):
        (folder / NEXT).replace(folder / CURRENT)
        _remove_others(folder)


def take_back(state: Path) -> None:
    """Forget the file that was made last. Raises StoreError."""
    folder = state / FOLDER
    with telling(folder):
        (folder / NEXT).unlink(missing_ok=True)
        if (folder / CURRENT).is_symlink():
            _remove_others(folder)


def _remove_others(folder: Path) -> None:
    kept = {CURRENT, (folder / CURRENT).readlink().name}
    for other in folder.iterdir():
        if other.name not in kept:
            other.unlink()
    sync_directory(folder)


def _model(configuration: Configuration) -> Model:
    return Model.load(Path(configuration.scan.model) if configuration.scan.model else DEFAULT_MODEL)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the dictionary cannot be read: {error.strerror}", where=str(path), mend="check its path and mode"
        ) from error


def checks_of(rules: Rules | None) -> list[str | Check] | None:
    """The checks of a scanner that hears for filters too; None: those that there are anyway."""
    listener = rules.listener if rules is not None else None
    return None if listener is None else [*factories(), listener]


def _digest(dictionaries: Sequence[tuple[Path, bytes]], model: Model, checks: Sequence[str | Check] | None) -> str:
    """SHA-256 of all that decides what is compiled: the dictionaries, terms of filters, the model, and the code that folds and compiles."""
    digest = hashlib.sha256(f"{model.digest}\n".encode())
    for check in checks or ():
        digest.update(repr(check if isinstance(check, str) else check.terms).encode())
    for name, octets in dictionaries:
        digest.update(f"{name.stem}\n{len(octets)}\n".encode())
        digest.update(octets)
    code = [*Path(esa_core.__file__).parent.glob("*.so"), *Path(esa_core.__file__).parent.parent.glob("esa/engine/**/*.py")]
    for path in sorted(code):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _is_usable(path: Path, model: Model, checks: Sequence[str | Check] | None) -> bool:
    """Whether this file is there and whole. One that is damaged, or that another version made, is told and not trusted."""
    if not path.exists():
        return False
    try:
        Scanner(model=model, checks=checks, compiled=path)
    except ConfigurationError as error:
        events.warning(Log.COMPILED_DAMAGED, where=error.where, reason=error.what, consequence="it is made again")
        return False
    return True


def open_scanner(configuration: Configuration, compiled: str = "", rules: Rules | None = None) -> Scanner:
    """The scanner of a receiver, which hears for these filters, with this file mapped; if it cannot be used, it says so and compiles its own.
    Without a name it does so at once.

    Raises ModelError, and ConfigurationError for dictionaries that cannot be compiled.
    """
    model = _model(configuration)
    checks = checks_of(rules)
    if not compiled:
        return Scanner(
            model=model, checks=checks, dictionaries=[Dictionary.from_file(Path(name)) for name in configuration.scan.dictionaries]
        )
    try:
        scanner = Scanner(model=model, checks=checks, compiled=configuration.state / FOLDER / compiled)
    except ConfigurationError as error:
        events.error(Log.COMPILED_DAMAGED, where=error.where, reason=error.what, consequence="this process compiles its own")
        return open_scanner(configuration, "", rules)
    events.info(Log.DICTIONARIES_LOADED, compiled=compiled)
    return scanner


def scanner_here(configuration: Configuration, rules: Rules | None) -> Scanner:
    """The same scanner for who is no receiver: what is compiled already is mapped, anything else is compiled in memory. Nothing is written.

    Raises ModelError, and ConfigurationError for dictionaries that cannot be compiled.
    """
    model, checks = _model(configuration), checks_of(rules)
    read = [(Path(name), _read(Path(name))) for name in configuration.scan.dictionaries]
    path = configuration.state / FOLDER / f"{_digest(read, model, checks)[:_DIGITS]}{SUFFIX}"
    if read and path.exists():
        try:
            return Scanner(model=model, checks=checks, compiled=path)
        except ConfigurationError:  # damaged, or gone meanwhile
            pass
    dictionaries = [Dictionary.from_octets(name.stem, octets, where=str(name)) for name, octets in read]
    return Scanner(model=model, checks=checks, dictionaries=dictionaries)


def engine_digest(configuration: Configuration, rules: Rules | None) -> str:
    """The same for configurations whose scanners find the same in every message."""
    read = [(Path(name), _read(Path(name))) for name in configuration.scan.dictionaries]
    return _digest(read, _model(configuration), checks_of(rules))


if __name__ == "__main__":
    sys.exit(main())
