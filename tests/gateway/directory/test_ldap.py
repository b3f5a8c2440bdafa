"""Recipients of an LDAP directory: a real slapd, and servers that hang, lie or leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from esa.gateway.directory.kept import Keeping, KeptSource
from esa.gateway.directory.ldap import LdapAsker, LdapSettings, Server, read_server
from esa.gateway.directory.ldap_filter import Filter
from esa.gateway.directory.sources import Scope, Standing
from esa.policy.recipient_access import recipient_of
from tests.gateway.certificates import Authority
from tests.gateway.directory.slapd import BASE, MANAGER, PASSWORD, Slapd, slapd_running

pytestmark = pytest.mark.servers
PEOPLE = ["anna", "bert", *(f"user{number}" for number in range(100))]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def slapd(server_program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Slapd]:
    certificate = authority.certificate("127.0.0.1")
    folder = tmp_path_factory.mktemp("slapd")
    files = certificate.chain, certificate.key, authority.file
    with slapd_running(server_program("slapd"), folder, PEOPLE, certificate=files, needs_bind=True) as server:
        yield server


def asking(*servers: Server, condition: str = "(mail={a})", timeout: float = 5.0, **more: Any) -> KeptSource:
    settings = LdapSettings(
        servers,
        **{"base": BASE, "condition": Filter(condition), "bind_dn": MANAGER, "password": PASSWORD, "timeout": timeout, **more},
    )
    return KeptSource(Scope("people"), LdapAsker(settings), Keeping(timeout=timeout))


def plain(slapd: Slapd) -> Server:
    return Server("127.0.0.1", slapd.port, "off")


async def standing(source: KeptSource, forward_path: str = "anna@example.org") -> Standing:
    answer = source.look_up(recipient_of(forward_path))
    return await answer if isinstance(answer, asyncio.Future) else answer


async def test_an_entry_is_a_recipient_and_none_is_none(slapd: Slapd) -> None:
    source = asking(plain(slapd), condition="(&(objectClass=inetOrgPerson)(|(mail={a})(uid={u}.{d})))")
    assert await standing(source, "Anna@Example.org") is Standing.KNOWN
    assert await standing(source, "nobody@example.org") is Standing.UNKNOWN
    await source.close()


@pytest.mark.parametrize("name", ["*", "anna*", "*)(uid=*", "anna)(|(uid=*", "x)(|(objectClass=*", "\\2a", "ann\\61", "(|(uid=*))", "{u}"])
async def test_what_a_client_says_is_a_value_and_never_a_filter(slapd: Slapd, name: str) -> None:
    quoted = name.replace("\\", "\\\\")
    for condition in ("(mail={a})", "(uid={u})", "(|(mail={a})(mail=smtp:{a}))"):
        source = asking(plain(slapd), condition=condition)
        assert await standing(source, f'"{quoted}"@example.org') is Standing.UNKNOWN
        assert await standing(source) is Standing.KNOWN
        await source.close()


async def test_the_strings_of_the_pack_find_nobody(slapd: Slapd, pack: Callable[[str], Path]) -> None:
    strings = json.loads((pack("injection-strings") / "strings.json").read_text())
    names = [one["value"] for one in strings if one["context"] == "ldap-filter"]
    assert names
    source = asking(plain(slapd), condition="(|(mail={a})(uid={u}))")
    for name in names:
        assert await standing(source, f"{name}@example.org") is Standing.UNKNOWN, name
    await source.close()


@pytest.mark.parametrize(
    ("condition", "finds"),
    [
        ("(mail=a*@example.org)", True),
        ("(mail=*nn*example*)", True),
        ("(uid=*)", True),
        ("(&(uid={u})(!(sn=other)))", True),
        ("(uid>={u})", False),  # this attribute has no order
        ("(uid~={u})", True),
        ("(uid:caseExactMatch:={u})", True),
        ("(cn:dn:={u})", True),
        ("(uid=\\61nna)", True),
        ("(mail={u}@{d})", True),
        ("(mail=x{a})", False),
    ],
)
async def test_filters_mean_what_slapd_takes_them_for(slapd: Slapd, condition: str, finds: bool) -> None:
    source = asking(plain(slapd), condition=condition)
    assert await standing(source) is (Standing.KNOWN if finds else Standing.UNKNOWN)
    await source.close()


async def test_tls_is_begun_or_there_from_the_start_and_the_server_verified(slapd: Slapd, authority: Authority, tmp_path: Path) -> None:
    starttls, implicit = Server("127.0.0.1", slapd.port, "starttls"), Server("127.0.0.1", slapd.tls_port, "implicit")
    for server in (starttls, implicit):
        source = asking(server, authorities=authority.file)
        assert await standing(source) is Standing.KNOWN
        await source.close()
        (tmp_path / "others").mkdir(exist_ok=True)
        stranger = asking(server, authorities=Authority(tmp_path / "others").file)
        assert await standing(stranger) is Standing.UNSURE
        await stranger.close()
        misnamed = asking(Server("localhost", server.port, server.tls), authorities=authority.file)
        assert await standing(misnamed) is Standing.UNSURE
        await misnamed.close()


async def test_a_wrong_password_a_base_that_is_not_there_and_no_bind_are_outages(slapd: Slapd) -> None:
    changes: list[dict[str, Any]] = [{"password": "wrong"}, {"base": "dc=elsewhere,dc=org"}, {"bind_dn": "", "password": ""}]
    for more in changes:
        source = asking(plain(slapd), **more)
        assert await standing(source) is Standing.UNSURE
        await source.close()
    with pytest.raises(ValueError, match="proves nothing"):
        await LdapAsker(LdapSettings((plain(slapd),), BASE, Filter("(mail={a})"), bind_dn=MANAGER)).ask(recipient_of("anna@example.org"))


async def test_hundreds_of_searches_share_one_connection(slapd: Slapd) -> None:
    source = asking(plain(slapd))
    names = [f"user{number}@example.org" for number in range(300)]
    found = await asyncio.gather(*(standing(source, name) for name in names))
    assert found == [Standing.KNOWN] * 100 + [Standing.UNKNOWN] * 200
    await source.close()


@asynccontextmanager
async def server_that(octets: bytes | None) -> AsyncIterator[Server]:
    """A server that answers whatever comes with these octets; None: with silence."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            if octets is not None:
                writer.write(octets)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Server("127.0.0.1", server.sockets[0].getsockname()[1], "off")
        server.close()


BOUND = bytes.fromhex("300c02010161070a010004000400")


@pytest.mark.parametrize(
    "octets",
    [
        None,
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x80\x02",
        b"\x30\x03\x02\x01\x01",
        b"\x30\x00",
        BOUND + b"\x30\x05\x02\x01\x02\x65\x00",
        BOUND + b"\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x00\x04\x00\x04\x00",
        BOUND + b"\x30\x85\x00\x00\x00\x00\x01",
    ],
)
async def test_a_server_that_hangs_or_lies_is_an_outage(octets: bytes | None) -> None:
    async with server_that(octets) as server:
        source = asking(server, timeout=0.4)
        assert await standing(source) is Standing.UNSURE
        await source.close()


async def test_the_next_server_is_asked_where_one_is_down_or_hangs(slapd: Slapd, free_port: Callable[[], int]) -> None:
    async with server_that(None) as hanging:
        source = asking(Server("127.0.0.1", free_port(), "off"), hanging, plain(slapd), timeout=2.0)
        assert await standing(source) is Standing.KNOWN
        await source.close()


async def test_a_directory_that_comes_back_is_asked_again(server_program: Callable[[str], str], tmp_path: Path) -> None:
    with slapd_running(server_program("slapd"), tmp_path / "one", ["anna"]) as first:
        source = asking(plain(first))
        assert await standing(source) is Standing.KNOWN
        first.process.terminate()
        first.process.wait(20)
        assert await standing(source, "bert@example.org") is Standing.UNSURE
        assert await standing(source) is Standing.KNOWN  # kept
    await source.close()


def test_servers_are_written_as_urls() -> None:
    assert read_server("ldap://a.example", starttls=True) == Server("a.example", 389, "starttls")
    assert read_server("ldap://a.example:3389/", starttls=False) == Server("a.example", 3389, "off")
    assert read_server("ldaps://[2001:db8::1]", starttls=True) == Server("2001:db8::1", 636, "implicit")
    for text in ("a.example", "http://a.example", "ldap://", "ldap://a:0", "ldap://a/dc=x??sub"):
        assert read_server(text, starttls=True) is None
