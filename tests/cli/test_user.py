"""`esa user check` says whether a user would be let in, and who says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from tests.cli.command import esa
from tests.gateway.directory.slapd import BASE, slapd_running

QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


def configuration(folder: Path, url: str) -> Path:
    (folder / "users.txt").write_text(f"anna:{QUICK.hash('sesame')}\n")
    path = folder / "esa.toml"
    table = f'[[user_ldap]]\nname = "people"\nservers = ["{url}"]\ntls = "off"\nbase = "{BASE}"\ntimeout = "1 s"\n'
    path.write_text(f'[authentication]\nusers = "users.txt"\n{table}')
    return path


@pytest.mark.servers
def test_the_first_source_that_knows_the_name_decides(tmp_path: Path, server_program: Callable[[str], str]) -> None:
    with slapd_running(server_program("slapd"), tmp_path / "slapd", ["anna", "bert"]) as server:
        file = configuration(tmp_path, server.url)
        done = esa("user", "check", "anna", "--config", file, stdin=b"sesame\n")
        assert (done.code, done.out.splitlines()[0]) == (0, "anna: let in")
        assert "people" not in done.out
        done = esa("user", "check", "bert", "--config", file, "--json", stdin=b"bert's secret\n")
        (found,) = done.lines
        assert (done.code, found["right"]) == (0, True)
        assert [one["standing"] for one in json.loads(done.out)["sources"]] == ["unknown", "right"]
        for name, password in (("anna", b"anna's secret\n"), ("bert", b"wrong\n"), ("bert", b"\n"), ("carl", b"x\n")):
            done = esa("user", "check", name, "--config", file, stdin=password)
            assert (done.code, done.out.splitlines()[0]) == (1, f"{name}: refused")


def test_a_directory_that_is_down_is_told_with_the_reason(tmp_path: Path, free_port: Callable[[], int]) -> None:
    file = configuration(tmp_path, f"ldap://127.0.0.1:{free_port()}")
    done = esa("user", "check", "bert", "--config", file, stdin=b"bert's secret\n")
    assert done.code == 3
    assert "people: cannot tell: " in done.out
    assert "secret" not in done.out + done.err


def test_without_users_there_is_nobody_to_ask(tmp_path: Path) -> None:
    (tmp_path / "esa.toml").write_text("")
    done = esa("user", "check", "anna", "--config", tmp_path / "esa.toml", stdin=b"x\n")
    assert done.code == 2
    assert "there are no users" in done.err
