"""`esa dkim`: keys, their records, and a signature by hand, in processes of their own."""

from __future__ import annotations

import asyncio
import re
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from esa.gateway.delivery.signing import read_key
from tests.cli.command import esa
from tests.gateway.zone_server import zone_server
from tests.message.test_dkim import JOE, verifies


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    done = esa("dkim", "new", "football.example.com", "--selector", "2026a", "--out", tmp_path / "key.pem")
    assert done.code == 0, done.err
    lines = done.err.partition("esa.toml:\n\n")[2]
    (tmp_path / "esa.toml").write_text(lines)
    return tmp_path


def test_a_new_key_is_secret_and_never_overwritten(folder: Path) -> None:
    key = folder / "key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    again = esa("dkim", "new", "football.example.com", "--out", key)
    assert (again.code, key.read_bytes()) == (3, before)
    assert "never overwritten" in again.err


def test_the_record_holds_the_public_half_that_openssl_reads_from_the_key(folder: Path) -> None:
    done = esa("dkim", "record", "--json", "--config", folder / "esa.toml")
    (record,) = done.lines
    assert record["name"] == "2026a._domainkey.football.example.com"
    der = subprocess.run(["openssl", "pkey", "-in", folder / "key.pem", "-pubout"], capture_output=True, check=True).stdout.decode()
    assert str(record["record"]) == f"v=DKIM1; k=rsa; p={''.join(der.splitlines()[1:-1])}"
    line = esa("dkim", "record", "--config", folder / "esa.toml").out
    pieces = re.findall(r'"([^"]*)"', line)
    assert "".join(pieces) == record["record"]
    assert max(map(len, pieces)) <= 255


def test_a_message_is_signed_by_hand_as_it_would_leave(folder: Path) -> None:
    done = esa("dkim", "sign", "--whole", "--config", folder / "esa.toml", stdin=JOE)
    key = read_key(folder / "key.pem").public_key()
    assert verifies(done.out.replace("\r\n", "\n").replace("\n", "\r\n").encode(), key)
    stranger = esa("dkim", "sign", "--config", folder / "esa.toml", stdin=JOE.replace(b"football", b"chess"))
    assert (stranger.code, stranger.out) == (1, "")
    assert "nobody signs for the author" in stranger.err


def test_keys_are_listed_with_whom_they_sign_for(folder: Path) -> None:
    (one,) = esa("dkim", "list", "--json", "--config", folder / "esa.toml").lines
    assert (one["domain"], one["selector"], one["algorithm"]) == ("football.example.com", "2026a", "rsa-sha256")
    (folder / "esa.toml").write_text("")
    none = esa("dkim", "list", "--config", folder / "esa.toml")
    assert (none.code, "esa dkim new" in none.err) == (1, True)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('domain = "example.com"\nselector = "a b"\nkey = "key.pem"\n', "'a b' is no selector"),
        ('domain = "example.com"\nselector = "a"\nkey = "gone.pem"\n', "there is no file"),
    ],
)
def test_what_cannot_sign_is_told_where_it_stands(folder: Path, lines: str, words: str) -> None:
    (folder / "esa.toml").write_text(f"[[dkim]]\n{lines}")
    done = esa("config", "check", folder / "esa.toml")
    assert done.code != 0
    assert words in done.err + done.out


def test_a_key_that_others_can_read_is_refused(folder: Path) -> None:
    (folder / "key.pem").chmod(0o644)
    done = esa("dkim", "list", "--config", folder / "esa.toml")
    assert done.code == 2
    assert "others can read this key" in done.err
    assert "others can read this key" in esa("config", "check", folder / "esa.toml").err


@pytest.mark.parametrize(
    ("change", "words", "code"),
    [
        (lambda record: [record], "published", 0),
        (lambda record: [f"{record}; t=s; n=note"], "published", 0),
        (lambda record: [], "nothing is published", 1),
        (lambda record: ["v=spf1 -all"], "no key in it", 1),
        (lambda record: [record, f"{record}; n=note"], "several keys", 1),
        (lambda record: [re.sub("p=.*", "p=", record)], "revoked", 1),
        (lambda record: [record.replace("p=MI", "p=MJ")], "another key", 1),
        (lambda record: [record.replace("k=rsa", "k=ed25519")], "another key", 1),
        (lambda record: [f"{record}; h=sha1"], "forbids SHA-256", 1),
        (lambda record: [f"{record}; t=y"], "as a test", 1),
    ],
)
async def test_what_dns_has_is_told_as_verifiers_see_it(folder: Path, change: Callable[[str], list[str]], words: str, code: int) -> None:
    (record,) = esa("dkim", "record", "--json", "--config", folder / "esa.toml").lines
    texts = [" ".join(f'"{text[at : at + 250]}"' for at in range(0, len(text), 250)) for text in change(str(record["record"]))]
    async with zone_server({(str(record["name"]), "TXT"): texts} if texts else {}) as server:
        with (folder / "esa.toml").open("a") as file:
            file.write(f'[dns]\nservers = ["{server.address}"]\n')
        done = await asyncio.to_thread(esa, "dkim", "check", "--config", folder / "esa.toml")
    assert (done.code, words in done.out) == (code, True), done.out + done.err


async def test_name_servers_that_fail_are_no_missing_record(folder: Path) -> None:
    async with zone_server({}, failing=["2026a._domainkey.football.example.com"]) as server:
        with (folder / "esa.toml").open("a") as file:
            file.write(f'[dns]\nservers = ["{server.address}"]\n')
        done = await asyncio.to_thread(esa, "dkim", "check", "--json", "--config", folder / "esa.toml")
    assert (done.code, done.lines[0]["good"]) == (3, False)
