"""`esa config init` and `esa config check`, as a person and a script meet them."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from esa.cli.config import command
from esa.config.load import check


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(command, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_init_writes_a_file_that_check_finds_right(tmp_path: Path) -> None:
    file = str(tmp_path / "esa.toml")
    assert run("init", file)[0] == 0
    code, out, _ = run("check", file)
    assert code == 0
    assert "is right: mail on 127.0.0.1 port 2525; mail goes to Maildir" in out


def test_init_does_not_overwrite_without_force(tmp_path: Path) -> None:
    file = tmp_path / "esa.toml"
    file.write_text("# mine\n")
    code, _, talk = run("init", str(file))
    assert code == 3
    assert "--force" in talk
    assert file.read_text() == "# mine\n"
    assert run("init", "--force", str(file))[0] == 0
    assert "[gateway]" in file.read_text()


def test_init_writes_to_standard_output() -> None:
    code, out, _ = run("init", "-")
    assert code == 0
    assert check(out)[1] == []


def test_check_says_all_faults_and_exits_1(tmp_path: Path) -> None:
    file = tmp_path / "esa.toml"
    file.write_text("[gateway]\nworker = 3\ndrain = 20\n")
    code, out, talk = run("check", str(file))
    assert (code, out) == (1, "")
    assert "line 2" in talk
    assert "line 3" in talk
    assert "2 faults found" in talk


def test_check_as_json_is_one_object(tmp_path: Path) -> None:
    file = tmp_path / "esa.toml"
    file.write_text("[gateway]\nworker = 3\n")
    code, out, _ = run("check", "--json", str(file))
    answer = json.loads(out)
    assert code == 1
    assert answer["valid"] is False
    assert answer["faults"][0]["line"] == 2
    assert answer["faults"][0]["key"] == "worker"


def test_a_file_that_is_not_there_exits_3(tmp_path: Path) -> None:
    code, _, talk = run("check", str(tmp_path / "none.toml"))
    assert code == 3
    assert "esa config init" in talk
    assert "Traceback" not in talk
