"""Compiled dictionaries in the state folder: made by one process, mapped by every receiver, changed under load.

    compiled/<digest>.patterns   what the dictionaries of that digest compile to; digest of their octets and of the program's own
    compiled/current             a link to the one in force

service.py runs this module as a process of its own at the start and on SIGHUP, so that a million terms hold up no event loop. It makes the file
if it is absent or cannot be used, checks it, puts it in force by renaming the link, and removes the others. Only then receivers are started that
map it, and those before them retire. Promises: a dictionary that cannot be compiled changes nothing and is told in the log; a receiver that starts takes what is in
force, whatever stands in the dictionary files by then. Exit status 0: in force; 3: failed, told on stderr.
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
from esa.config.schema import Configuration
from esa.engine.dictionary import Dictionary
from esa.engine.model import DEFAULT_MODEL, Model
from esa.engine.scanner import Scanner
from esa.errors import ConfigurationError, EsaError
from esa.gateway import events
from esa.gateway.child import configuration_of, die_with_parent
from esa.gateway.events import Event as Log
from esa.store.folder import make_private, sync_directory, telling

FOLDER = "compiled"
CURRENT = "current"
SUFFIX = ".patterns"
FAILED = 3
NICENESS = 10  # mail that is on its way goes first
_DIGITS = 32  # of a digest in a name


def main(arguments: Sequence[str] | None = None) -> int:
    """Put the dictionaries of a configuration in force."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they go to the whole group; the parent says when to stop
    parser = argparse.ArgumentParser(prog="esa.gateway.patterns", description="Compiles dictionaries; started by `esa serve`.")
    parser.add_argument("--configuration", type=int, required=True, metavar="FD")
    configuration = configuration_of(parser.parse_args(arguments).configuration)
    events.configure("compile", log_format=configuration.gateway.log_format)
    if not die_with_parent():
        return FAILED
    os.nice(NICENESS)
    try:
        put_in_force(configuration)
    except EsaError as error:
        events.error(Log.DICTIONARIES_REFUSED, where=error.where, reason=error.what, mend=error.mend)
        return FAILED
    except Exception as error:
        events.error(Log.PROCESS_FAILED, cause=error)
        return FAILED
    return 0


def put_in_force(configuration: Configuration) -> Path:
    """Compile the dictionaries unless that is done already, and have them mapped from now on.

    Raises ConfigurationError, ModelError and StoreError; then what was in force stays.
    """
    folder = make_private(configuration.state / FOLDER)
    dictionaries = [(Path(name), _read(Path(name))) for name in configuration.scan.dictionaries]
    model = Model.load(Path(configuration.scan.model) if configuration.scan.model else DEFAULT_MODEL)
    path = folder / f"{_digest(dictionaries)[:_DIGITS]}{SUFFIX}"
    if not _is_usable(path, model):
        began = time.monotonic()
        made = Scanner(
            model=model, dictionaries=[Dictionary.from_octets(name.stem, octets, where=str(name)) for name, octets in dictionaries]
        )
        with telling(folder):
            made.save(path)
        Scanner(model=model, compiled=path)
        seconds = round(time.monotonic() - began, 1)
        events.info(
            Log.DICTIONARIES_COMPILED, compiled=path.name, dictionaries=len(dictionaries), octets=path.stat().st_size, seconds=seconds
        )
    with telling(folder):
        link = folder / f".{CURRENT}"
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
        link.replace(folder / CURRENT)
        for other in folder.iterdir():
            if other.name not in (path.name, CURRENT):
                other.unlink()
        sync_directory(folder)
    return path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the dictionary cannot be read: {error.strerror}", where=str(path), mend="check its path and mode"
        ) from error


def _digest(dictionaries: Sequence[tuple[Path, bytes]]) -> str:
    """SHA-256 of all that decides what is compiled: the dictionaries, and the code that folds and compiles."""
    digest = hashlib.sha256()
    for name, octets in dictionaries:
        digest.update(f"{name.stem}\n{len(octets)}\n".encode())
        digest.update(octets)
    code = [*Path(esa_core.__file__).parent.glob("*.so"), *Path(esa_core.__file__).parent.parent.glob("esa/engine/**/*.py")]
    for path in sorted(code):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _is_usable(path: Path, model: Model) -> bool:
    """Whether this file is there and whole. One that is damaged, or that another version made, is told and not trusted."""
    if not path.exists():
        return False
    try:
        Scanner(model=model, compiled=path)
    except ConfigurationError as error:
        events.warning(Log.COMPILED_DAMAGED, where=error.where, reason=error.what, consequence="it is made again")
        return False
    return True


def open_scanner(configuration: Configuration) -> Scanner:
    """The scanner of a receiver, with what is in force mapped; if that cannot be used, it says so and compiles its own.

    Raises ModelError, and ConfigurationError for dictionaries that cannot be compiled.
    """
    model = Model.load(Path(configuration.scan.model) if configuration.scan.model else DEFAULT_MODEL)
    if not configuration.scan.dictionaries:
        return Scanner(model=model)
    try:
        scanner = Scanner(model=model, compiled=configuration.state / FOLDER / CURRENT)
    except ConfigurationError as error:
        events.error(Log.COMPILED_DAMAGED, where=error.where, reason=error.what, consequence="this process compiles its own")
        return Scanner(model=model, dictionaries=[Dictionary.from_file(Path(name)) for name in configuration.scan.dictionaries])
    events.info(Log.DICTIONARIES_LOADED, compiled=(configuration.state / FOLDER / CURRENT).resolve().name)
    return scanner


if __name__ == "__main__":
    sys.exit(main())
