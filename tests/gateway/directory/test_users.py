"""Users of an LDAP directory, with a real slapd: who is let in, who is not, and what an outage comes to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from esa.gateway.authentication import CannotTell, Credentials, Proof, Users
from esa.gateway.directory.ldap import LdapSettings, Server
from esa.gateway.directory.ldap_filter import Filter
from esa.gateway.directory.users import LdapUsers
from esa.gateway.limits import Limits
from esa.gateway.patience import FailureLimits, Patience
from esa.gateway.user_file import UserFile
from tests.gateway.certificates import Authority
from tests.gateway.directory.slapd import BASE, MANAGER, PASSWORD, Slapd, slapd_running
from tests.gateway.directory.test_ldap import BOUND, server_that
from tests.gateway.test_authentication import MAIL, plain, secured, submission

pytestmark = pytest.mark.servers
QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
BY_NAME = "(|(uid={a})(mail={a}))"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def slapd(server_program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Slapd]:
    certificate = authority.certificate("127.0.0.1")
    files = certificate.chain, certificate.key, authority.file
    folder = tmp_path_factory.mktemp("slapd")
    with slapd_running(server_program("slapd"), folder, ["anna", "bert"], certificate=files, needs_bind=True) as server:
        yield server


@asynccontextmanager
async def users_of(
    *servers: Server, condition: str = BY_NAME, timeout: float = 5.0, proven_for: float = 0.0, **more: Any
) -> AsyncIterator[LdapUsers]:
    settings = LdapSettings(
        servers, **{"base": BASE, "condition": Filter(condition), "bind_dn": MANAGER, "password": PASSWORD, "timeout": timeout, **more}
    )
    users = LdapUsers("people", settings, proven_for=proven_for)
    try:
        yield users
    finally:
        await users.close()


def plain_server(slapd: Slapd) -> Server:
    return Server("127.0.0.1", slapd.port, "off")


def said(name: str, password: str | bytes) -> Credentials:
    return Credentials(name, password.encode() if isinstance(password, str) else password)


async def test_who_knows_the_password_of_an_entry_is_let_in(slapd: Slapd) -> None:
    async with users_of(plain_server(slapd)) as users:
        assert await users.check(said("anna", "anna's secret")) is Proof.RIGHT
        assert await users.check(said("anna@example.org", "anna's secret")) is Proof.RIGHT
        assert await users.check(said("anna", "bert's secret")) is Proof.WRONG
        assert await users.check(said("anna", b"\xff\x00")) is Proof.WRONG
        assert await users.check(said("nobody", "anna's secret")) is Proof.UNKNOWN
        assert await users.check(said("bert", "bert's secret")) is Proof.RIGHT


@pytest.mark.parametrize("name", ["*", "a*", "anna)(uid=*", "*)(|(uid=*", "\\61nna", "uid=anna,ou=people,dc=example,dc=org"])
async def test_what_a_client_calls_itself_is_a_value_and_never_a_filter(slapd: Slapd, name: str) -> None:
    async with users_of(plain_server(slapd)) as users:
        assert await users.check(said(name, "anna's secret")) is Proof.UNKNOWN


async def test_the_strings_of_the_pack_let_nobody_in(slapd: Slapd, pack: Callable[[str], Path]) -> None:
    strings = json.loads((pack("injection-strings") / "strings.json").read_text())
    names = [one["value"] for one in strings if one["context"] == "ldap-filter"]
    assert names
    async with users_of(plain_server(slapd)) as users:
        for name in names:
            assert await users.check(said(name, "anna's secret")) is Proof.UNKNOWN, name


async def test_a_name_that_finds_several_entries_is_nobody(slapd: Slapd) -> None:
    async with users_of(plain_server(slapd), condition="(|(uid={u})(uid=bert))") as users:
        assert await users.check(said("anna", "anna's secret")) is Proof.WRONG
        assert await users.check(said("anna", "bert's secret")) is Proof.WRONG
        assert await users.check(said("bert@elsewhere.example", "bert's secret")) is Proof.RIGHT  # {u} is the part before the @


async def test_passwords_go_through_tls_and_only_to_a_server_that_is_verified(slapd: Slapd, authority: Authority, tmp_path: Path) -> None:
    for server in (Server("127.0.0.1", slapd.port, "starttls"), Server("127.0.0.1", slapd.tls_port, "implicit")):
        async with users_of(server, authorities=authority.file) as users:
            assert await users.check(said("anna", "anna's secret")) is Proof.RIGHT
        (tmp_path / "others").mkdir(exist_ok=True)
        async with users_of(server, authorities=Authority(tmp_path / "others").file) as users:
            with pytest.raises(CannotTell):
                await users.check(said("anna", "anna's secret"))


async def test_what_the_directory_does_not_let_us_search_is_an_outage(slapd: Slapd) -> None:
    changes: list[dict[str, Any]] = [{"password": "wrong"}, {"base": "dc=elsewhere,dc=org"}, {"bind_dn": "", "password": ""}]
    for more in changes:
        async with users_of(plain_server(slapd), **more) as users:
            with pytest.raises(CannotTell):
                await users.check(said("anna", "anna's secret"))


@pytest.mark.parametrize("octets", [None, b"HTTP/1.1 400 Bad Request\r\n\r\n", BOUND + b"\x30\x05\x02\x01\x02\x65\x00", b"\x30\x80"])
async def test_a_server_that_hangs_or_lies_is_an_outage_and_lets_nobody_in(octets: bytes | None) -> None:
    async with server_that(octets) as server, users_of(server, timeout=0.4) as users:
        for _ in range(5):
            with pytest.raises(CannotTell):
                await users.check(said("anna", "anna's secret"))


async def test_the_next_server_is_asked_where_one_is_down(slapd: Slapd, free_port: Callable[[], int]) -> None:
    async with users_of(Server("127.0.0.1", free_port(), "off"), plain_server(slapd)) as users:
        assert await users.check(said("anna", "anna's secret")) is Proof.RIGHT
        assert await users.check(said("anna", "wrong")) is Proof.WRONG


async def test_those_of_the_file_come_first_and_a_name_of_it_is_not_asked_of_the_directory(slapd: Slapd, tmp_path: Path) -> None:
    (tmp_path / "users").write_text(f"anna:{QUICK.hash('of the file')}\n")
    async with users_of(plain_server(slapd)) as directory:
        users = Users([UserFile(tmp_path / "users"), directory], Patience.of_one_process(FailureLimits()), failure_seconds=0)
        assert await users.verify(said("anna", "of the file"), "192.0.2.1") == "anna"
        assert await users.verify(said("anna", "anna's secret"), "192.0.2.1") is None
        assert await users.verify(said("bert", "bert's secret"), "192.0.2.1") == "bert"
        assert await users.verify(said("bert", ""), "192.0.2.1") is None


async def test_a_session_is_told_454_in_an_outage_and_a_proven_password_holds(
    server_program: Callable[[str], str], tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with slapd_running(server_program("slapd"), tmp_path / "one", ["anna", "bert"]) as server:
        async with users_of(plain_server(server), proven_for=300.0, bind_dn="", password="") as directory:
            users = Users([directory], Patience.of_one_process(FailureLimits()), failure_seconds=0)
            async with submission(authority, users, required=True, errors=Limits().authentications) as (running, recorder):
                client = await secured(running, authority)
                assert (await client.ask(f"AUTH PLAIN {plain('anna', 'wrong')}")).startswith("535 5.7.8")
                assert (await client.ask(f"AUTH PLAIN {plain('anna', '')}")).startswith("535 5.7.8")
                server.process.terminate()
                await asyncio.to_thread(server.process.wait, 20)
                for _ in range(2):
                    assert (await client.ask(f"AUTH PLAIN {plain('anna', chr(97) + 'nna')}")).startswith("454 4.7.0 Temporary")
                assert (await client.ask(MAIL)).startswith("530")
            assert recorder.messages == []
    assert "anna's secret" not in caplog.text


async def test_a_password_that_was_right_holds_through_an_outage(server_program: Callable[[str], str], tmp_path: Path) -> None:
    with slapd_running(server_program("slapd"), tmp_path / "one", ["anna", "bert"]) as server:
        async with users_of(plain_server(server), proven_for=300.0, bind_dn="", password="") as directory:
            users = Users([directory], Patience.of_one_process(FailureLimits()), failure_seconds=0)
            assert await users.verify(said("anna", "anna's secret"), "192.0.2.1") == "anna"
            server.process.terminate()
            await asyncio.to_thread(server.process.wait, 20)
            assert await users.verify(said("anna", "anna's secret"), "192.0.2.1") == "anna"
            for name, password in (("anna", "wrong"), ("bert", "bert's secret")):
                with pytest.raises(CannotTell):
                    await users.verify(said(name, password), "192.0.2.1")
