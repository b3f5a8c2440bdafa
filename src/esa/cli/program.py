"""The program `esa`: its commands, loaded when called, and what becomes of errors.

Whatever goes wrong ends as sentences on stderr (what, where, how to mend) and an exit code, never as a traceback. With ESA_TRACEBACK=1 in
the environment a fault of the program itself shows its traceback as well.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from esa import __version__
from esa.errors import ConfigurationError, EsaError

DONE, FOUND, USED_WRONGLY, FAILED = 0, 1, 2, 3
INTERRUPTED = 130  # 128 + SIGINT, as shells count it

# name → (module, line of the help page). The line is the first sentence of the command's own help; a test holds the two together.
COMMANDS = {
    "scan": ("esa.cli.scan", "Scan messages and print verdict, score and reasons."),
    "serve": ("esa.cli.serve", "Run the mail gateway."),
    "config": ("esa.cli.config", "Write a first esa.toml, check one, or import AsyncOS's HAT and RAT."),
    "dictionary": ("esa.cli.dictionary", "See, change, check, import and export dictionaries."),
    "filters": ("esa.cli.filters", "See, check and change message filters."),
    "recipient": ("esa.cli.recipient", "Ask what becomes of a recipient."),
    "user": ("esa.cli.user", "Ask whether a user can authenticate."),
    "queue": ("esa.cli.queue", "See what waits for delivery."),
    "quarantine": ("esa.cli.quarantine", "See, release or delete held messages."),
    "track": ("esa.cli.track", "Find out what became of a message."),
    "trace": ("esa.cli.trace", "Show what becomes of a message, and what decides it."),
    "replay": ("esa.cli.replay", "Compare what two configurations do with mail, before one is rolled out."),
    "recorder": ("esa.cli.recorder", "See, export or erase what is recorded of messages."),
    "reputation": ("esa.cli.reputation", "See, forget, export and import the reputation of senders."),
    "report": ("esa.cli.report", "Tell what the gateway has stopped."),
    "cert": ("esa.cli.cert", "See, check and request certificates."),
    "dkim": ("esa.cli.dkim", "Make, show and try the keys that sign outgoing mail."),
    "bounce-verification": ("esa.cli.bounce_verification", "Make, list and purge the keys that tag return paths."),
    "tlsverify": ("esa.cli.tlsverify", "Verify the TLS of a domain's mail servers."),
    "tlsrpt": ("esa.cli.tlsrpt", "See what came of TLS with other servers, and reports on it."),
    "evaluate": ("esa.cli.evaluate", "Measure a model on labelled mail."),
    "train": ("esa.cli.train", "Make a local model from labelled mail."),
    "bench": ("esa.cli.bench", "Measure speed: of the library, an SMTP server, or TLS."),
    "help": ("esa.cli.help", "Explain a topic."),
    "doctor": ("esa.cli.doctor", "Check this installation and say what to mend."),
}


class LazyGroup(click.Group):
    """The top level: knows the names and one line of each command; imports a command's module only to run it or to show its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            ctx.fail(f"there is no command {args[0]!r}. {hint}All commands: {', '.join(COMMANDS)}.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="esa", message="%(prog)s %(version)s")
def program() -> None:
    """esa, an open email security appliance.

    \b
    Examples:
      esa scan message.eml            verdict, score and reasons of one message
      esa scan --json Maildir/ | jq   the same of a whole mailbox, one JSON object a line
      esa serve                       start the gateway: SMTP on 127.0.0.1:2525, state in ./state

    Results go to standard output, everything else to standard error. Exit status: 0 done, nothing found; 1 found
    (spam, a difference, a figure out of bounds); 2 used wrongly; 3 failed, or some inputs could not be read.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave the process with its exit code."""
    code = run(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.stdout.flush()
    except OSError as error:
        code = _output_failed(error)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; every error has been told on stderr."""
    try:
        result = program.main(list(arguments), prog_name="esa", standalone_mode=False)
    except click.Abort:
        return _tell("interrupted", INTERRUPTED)
    except click.ClickException as error:
        error.show()
        return error.exit_code if isinstance(error, click.UsageError) else FAILED
    except ConfigurationError as error:
        return _tell(str(error), USED_WRONGLY)
    except EsaError as error:
        return _tell(str(error), FAILED)
    except KeyboardInterrupt:
        return _tell("interrupted", INTERRUPTED)
    except ModuleNotFoundError as error:
        return _absent(error)
    except MemoryError:
        return _tell("there is not enough memory for this", FAILED)
    except OSError as error:
        if error.filename is None and error.errno in (errno.EPIPE, errno.ENOSPC, errno.EIO):
            return _output_failed(error)
        where = f"{error.filename}: " if error.filename else ""
        return _tell(f"{where}{error.strerror or error}", FAILED)
    except Exception as error:
        if os.environ.get("ESA_TRACEBACK"):
            traceback.print_exc()
        return _tell(
            f"a fault of esa itself: {type(error).__name__}: {error}\nWith ESA_TRACEBACK=1 it shows where; please report that.", FAILED
        )
    return result if isinstance(result, int) else DONE


def _tell(text: str, code: int) -> int:
    click.echo(f"esa: {text}", err=True)
    return code


# Which extra brings a module; a plain install has none of them.
_EXTRAS = {
    "uvloop": "gateway",
    "aiosmtpd": "gateway",
    "pydantic": "gateway",
    "tomlkit": "gateway",
    "sqlalchemy": "gateway",
    "prometheus_client": "gateway",
    "argon2": "gateway",
    "lark": "gateway",
    "dns": "gateway",
    "sklearn": "learning",
    "scipy": "learning",
    "zstandard": "learning",
}


def _absent(error: ModuleNotFoundError) -> int:
    name = (error.name or "").partition(".")[0]
    if name in _EXTRAS:
        mend = f"pip install 'esa-appliance[{_EXTRAS[name]}]'"
        return _tell(f"this command needs the package {name}, which is not installed\nInstall it with: {mend}", FAILED)
    return _tell(
        f"the package {name or error} is missing from this installation\nInstall esa again; `esa doctor` says what is absent.", FAILED
    )


def _output_failed(error: OSError) -> int:
    """Nobody reads our output any more, or it cannot be written. Keeps the interpreter from trying again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        return FAILED
    return _tell(f"the output cannot be written: {error.strerror}", FAILED)
