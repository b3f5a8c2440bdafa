"""AUTH on real sockets, inside TLS: mechanisms, cancelling, refusals that tell nothing, patience with those who guess."""

from __future__ import annotations

import asyncio
import base64
import logging
import smtplib
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from esa.errors import ConfigurationError
from esa.gateway.authentication import Credentials, Users
from esa.gateway.limits import Limits
from esa.gateway.patience import FailureLimits, Patience
from esa.gateway.tls import TlsSettings
from esa.gateway.user_file import UserFile
from tests.gateway.certificates import Authority
from tests.gateway.sessions import HOSTNAME, Client, Listening, Recorder, listening

QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
MAIL = "MAIL FROM:<a@partner.example>"


def plain(name: str, password: str, acts_as: str = "") -> str:
    return base64.b64encode(f"{acts_as}\0{name}\0{password}".encode()).decode()


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> UserFile:
    path = tmp_path / "users"
    path.write_text(f"# people\nanna:{QUICK.hash('sesame')}\n\nben@example.com:{QUICK.hash('pässword:ö')}\n")
    return UserFile(path)


@pytest.fixture
def users(file: UserFile) -> Users:
    return Users([file], Patience.of_one_process(FailureLimits()), failure_seconds=0)


@asynccontextmanager
async def submission(
    authority: Authority, users: Users, *, required: bool = False, errors: int = 20
) -> AsyncIterator[tuple[Listening, Recorder]]:
    recorder = Recorder()
    tls = TlsSettings(certificates=(authority.certificate(),))
    async with listening(
        recorder, tls=tls, authenticator=users, needs_authentication=required, limits=Limits(authentications=errors)
    ) as running:
        yield running, recorder


async def secured(running: Listening, authority: Authority) -> Client:
    client = await running.connect()
    await client.ask("EHLO client.example")
    await client.start_tls(authority.client())
    await client.ask("EHLO client.example")
    return client


async def test_auth_is_offered_and_heard_inside_tls_only(authority: Authority, users: Users) -> None:
    async with submission(authority, users) as (running, _):
        client = await running.connect()
        await client.send(b"EHLO client.example\r\n")
        lines = [await client.line() for _ in range(9)]
        assert not any("AUTH" in line for line in lines)
        assert (await client.ask(f"AUTH PLAIN {plain('anna', 'sesame')}")).startswith("538 5.7.11")
        await client.start_tls(authority.client())
        await client.send(b"EHLO client.example\r\n")
        assert "250-AUTH PLAIN LOGIN" in [await client.line() for _ in range(9)]
        assert (await client.ask(f"AUTH PLAIN {plain('anna', 'sesame')}")).startswith("235 2.7.0")
        await client.send(b"EHLO client.example\r\n")
        assert not any("AUTH" in line for line in [await client.line() for _ in range(8)])
        assert (await client.ask(f"AUTH PLAIN {plain('anna', 'sesame')}")).startswith("503 5.5.1")


async def test_mail_of_one_who_authenticated_says_so(authority: Authority, users: Users) -> None:
    async with submission(authority, users, required=True) as (running, recorder):
        client = await secured(running, authority)
        assert (await client.ask(MAIL)).startswith("530 5.7.0")
        assert (await client.ask("AUTH LOGIN")) == f"334 {b64('Username:')}"
        assert (await client.ask(b64("ben@example.com"))) == f"334 {b64('Password:')}"
        assert (await client.ask(b64("pässword:ö"))).startswith("235")
        await client.ask("MAIL FROM:<a@partner.example> AUTH=e+3Dmc2@example.com")
        await client.ask("RCPT TO:<user@example.com>")
        await client.ask("DATA")
        await client.ask(b".\r\n")
    message = recorder.messages[0]
    assert (message.session.protocol, message.session.user) == ("ESMTPSA", "ben@example.com")
    assert message.envelope.options is not None
    assert message.envelope.options.submitter == "e+3Dmc2@example.com"


async def test_nobody_vouches_for_the_auth_parameter_of_a_stranger(authority: Authority, users: Users) -> None:
    async with submission(authority, users) as (running, recorder):
        client = await secured(running, authority)
        await client.ask("MAIL FROM:<a@partner.example> AUTH=boss@example.com")
        await client.ask("RCPT TO:<user@example.com>")
        await client.ask("DATA")
        await client.ask(b".\r\n")
    options = recorder.messages[0].envelope.options
    assert options is not None
    assert options.submitter == "<>"


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([f"AUTH PLAIN {plain('anna', 'wrong')}"], "535 5.7.8"),
        ([f"AUTH PLAIN {plain('nobody', 'sesame')}"], "535 5.7.8"),
        ([f"AUTH PLAIN {plain('anna', 'sesame', 'ben@example.com')}"], "501 5.5.2"),
        ([f"AUTH PLAIN {plain('anna', 'sesame', 'anna')}"], "235 2.7.0"),
        (["AUTH PLAIN", plain("anna", "sesame")], "235 2.7.0"),
        ([f"AUTH LOGIN {b64('anna')}", b64("sesame")], "235 2.7.0"),
        (["AUTH PLAIN", "*"], "501 5.7.0"),
        (["AUTH LOGIN", "*"], "501 5.7.0"),
        (["AUTH PLAIN !!!!"], "501 5.5.2"),
        (["AUTH PLAIN ="], "501 5.5.2"),
        ([f"AUTH PLAIN {b64('no nul')}"], "501 5.5.2"),
        ([f"AUTH PLAIN {plain('', 'sesame')}"], "501 5.5.2"),
        (["AUTH LOGIN", "/w=="], "334"),
        (["AUTH LOGIN", "/w==", b64("x")], "501 5.5.2"),
        (["AUTH CRAM-MD5"], "504 5.5.4"),
        (["AUTH"], "501 5.5.4"),
    ],
)
async def test_every_way_an_auth_can_go(authority: Authority, users: Users, lines: list[str], code: str) -> None:
    async with submission(authority, users) as (running, _):
        client = await secured(running, authority)
        for line in lines[:-1]:
            assert (await client.ask(line)).startswith("334 ")
        assert (await client.ask(lines[-1])).startswith(code)
        if not code.startswith("334"):
            assert (await client.ask("NOOP")).startswith("250")
            assert (await client.ask(MAIL)).startswith("250")
            assert (await client.ask("AUTH PLAIN")).startswith("503")


async def test_a_line_of_an_exchange_is_no_command(authority: Authority, users: Users) -> None:
    async with submission(authority, users) as (running, _):
        client = await secured(running, authority)
        await client.ask("AUTH LOGIN")
        assert (await client.ask("QUIT")).startswith("334")  # four letters are base64
        assert (await client.ask("NO OP")).startswith("501")
        assert (await client.ask("QUIT")).startswith("221")


async def test_who_guesses_in_one_session_is_sent_away(authority: Authority, users: Users) -> None:
    async with submission(authority, users, errors=3) as (running, _):
        client = await secured(running, authority)
        for number in range(3):
            assert (await client.ask(f"AUTH PLAIN {plain('anna', str(number))}")).startswith("535")
        assert (await client.reply()).startswith("421 4.7.0")
        assert await client.is_closed()


async def test_a_changed_password_counts_at_once_and_a_bad_file_keeps_the_old(users: Users, file: UserFile) -> None:
    assert await users.verify(Credentials("anna", b"sesame"), "192.0.2.1") == "anna"
    file.path.write_text(f"anna:{QUICK.hash('new')}\n")
    users.reload()
    assert await users.verify(Credentials("anna", b"sesame"), "192.0.2.1") is None
    assert await users.verify(Credentials("anna", b"new"), "192.0.2.1") == "anna"
    file.path.write_text("anna:new\n")
    users.reload()
    assert await users.verify(Credentials("anna", b"new"), "192.0.2.1") == "anna"


async def test_an_empty_password_proves_nothing(users: Users) -> None:
    assert await users.verify(Credentials("anna", b""), "192.0.2.1") is None


@pytest.mark.parametrize("text", ["anna:secret\n", "anna\n", "a:$argon2id$x\na:$argon2id$y\n", "a:b:{SHA}x\n"])
def test_a_file_of_users_that_cannot_be_used_is_told_with_its_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "users").write_text(text)
    with pytest.raises(ConfigurationError, match="line"):
        UserFile(tmp_path / "users")


async def test_passwords_are_in_no_log(authority: Authority, users: Users, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with submission(authority, users) as (running, _):
        client = await secured(running, authority)
        secret = plain("anna", "wrong-secret")
        await client.ask(f"AUTH PLAIN {secret}")
        await client.ask(f"AUTH PLAIN {secret}!")
    logged = "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert "authentication.failed" in logged
    assert secret not in logged
    assert "wrong-secret" not in logged
    assert "wrong-secret" not in repr(Credentials("anna", b"wrong-secret"))


# --- real programs


async def test_smtplib_authenticates(authority: Authority, users: Users) -> None:
    def send(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=10) as client:
            client._host = HOSTNAME  # type: ignore[attr-defined]
            client.starttls(context=authority.client())
            assert isinstance(client.sock, ssl.SSLSocket)
            client.login("anna", "sesame")
            client.sendmail("a@partner.example", ["user@example.com"], b"Subject: x\r\n\r\n.\r\n")

    async with submission(authority, users, required=True) as (running, recorder):
        await asyncio.to_thread(send, running.port)
    assert recorder.messages[0].session.user == "anna"


@pytest.mark.servers
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_swaks_authenticates(server_program: Callable[[str], str], authority: Authority, users: Users, mechanism: str) -> None:
    async with submission(authority, users, required=True) as (running, recorder):
        command = [server_program("swaks"), "--server", f"127.0.0.1:{running.port}", "--to", "user@example.com", "--from", "a@x.example"]
        command += ["--tls", "--auth", mechanism, "--auth-user", "anna", "--auth-password", "sesame"]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stdout
    assert recorder.messages[0].session.user == "anna"
