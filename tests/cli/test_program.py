"""The program's frame: help, names of commands, and what becomes of errors."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import click
import pytest

from esa.cli import program
from esa.errors import ConfigurationError, EsaError


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "esa.cli", *arguments], capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("name", list(program.COMMANDS))
def test_the_line_of_the_help_page_is_that_of_the_command(name: str) -> None:
    module, line = program.COMMANDS[name]
    command = importlib.import_module(module).command
    assert isinstance(command, click.Command)
    assert (command.name, command.get_short_help_str(200)) == (name, line)


@pytest.mark.parametrize("name", list(program.COMMANDS))
def test_the_help_of_every_command_leads_with_an_example(name: str) -> None:
    command = importlib.import_module(program.COMMANDS[name][0]).command
    text = command.get_help(click.Context(command, info_name=f"esa {name}"))
    assert "Example" in text.partition("Options:")[0]


def test_help_loads_no_command_and_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from esa.cli.program import run\n"
        "assert run(['--help']) == 0\n"
        "heavy = {'numpy', 'rich', 'esa_core', 'esa.cli.scan', 'esa.engine', 'pydantic', 'asyncio'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "esa scan message.eml" in done.stdout


def test_an_unknown_command_is_used_wrongly_and_the_near_one_is_named() -> None:
    done = run("scna")
    assert done.returncode == 2
    assert "Did you mean 'scan'?" in done.stderr
    assert done.stdout == ""


def test_an_unknown_option_is_used_wrongly() -> None:
    done = run("scan", "--jsno", "x")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_no_command_shows_the_help() -> None:
    assert "Commands:" in run().stderr + run().stdout


def test_the_version_is_a_result() -> None:
    assert run("--version").stdout.startswith("esa ")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """A command `fail` that raises what the test puts into the list."""
    fault: list[BaseException] = []

    @click.command("fail")
    def command() -> None:
        raise fault[0]

    module = type(sys)("tests.cli.fail")
    module.__dict__["command"] = command
    monkeypatch.setitem(sys.modules, "tests.cli.fail", module)
    monkeypatch.setitem(program.COMMANDS, "fail", ("tests.cli.fail", "Fail."))
    return fault


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (EsaError("it is broken", where="place", mend="mend it"), 3, "esa: place: it is broken\nmend it\n"),
        (ConfigurationError("unknown key", where="esa.toml"), 2, "esa: esa.toml: unknown key\n"),
        (PermissionError(13, "Permission denied", "/a/file"), 3, "esa: /a/file: Permission denied\n"),
        (MemoryError(), 3, "esa: there is not enough memory for this\n"),
        (KeyboardInterrupt(), 130, "esa: interrupted\n"),
    ],
)
def test_an_error_ends_as_sentences_and_an_exit_code(
    failing: list[BaseException], capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    failing.append(error)
    assert program.run(["fail"]) == code
    assert capsys.readouterr().err.lstrip() == said


def test_an_absent_extra_is_named(failing: list[BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    failing.append(ModuleNotFoundError("No module named 'uvloop'", name="uvloop"))
    assert program.run(["fail"]) == 3
    assert "pip install 'esa-appliance[gateway]'" in capsys.readouterr().err


def test_a_fault_of_the_program_shows_no_traceback_unless_asked_for(
    failing: list[BaseException], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing.append(ZeroDivisionError("division by zero"))
    monkeypatch.delenv("ESA_TRACEBACK", raising=False)
    assert program.run(["fail"]) == 3
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv("ESA_TRACEBACK", "1")
    assert program.run(["fail"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_a_closed_pipe_ends_the_program_quietly() -> None:
    command = f"{sys.executable} -m esa.cli --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
