"""TLS on real sockets: what is offered, what survives the switch, versions, several certificates, clients' certificates, reload."""

from __future__ import annotations

import asyncio
import re
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from esa.errors import ConfigurationError
from esa.gateway import listener as listener_module
from esa.gateway.limits import Limits
from esa.gateway.protocol import Connection
from esa.gateway.receiver import Answer
from esa.gateway.tls import Certificate, Tls, TlsSettings
from esa.message.reply import Reply
from esa.message.trace import received_field
from tests.gateway.certificates import Authority
from tests.gateway.sessions import HOSTNAME, Client, Listening, Recorder, listening

MAIL = "MAIL FROM:<a@partner.example>"
RECIPIENT = "RCPT TO:<user@example.com>"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def settings(authority: Authority) -> TlsSettings:
    return TlsSettings(certificates=(authority.certificate(), authority.certificate(key="RSA")))


async def keywords(client: Client) -> list[str]:
    await client.send(b"EHLO client.example\r\n")
    lines = [await client.line()]
    while lines[-1][3] == "-":
        lines.append(await client.line())
    return [line[4:] for line in lines[1:]]


async def secured(running: Listening, authority: Authority) -> Client:
    client = await running.connect()
    await client.ask("EHLO client.example")
    await client.start_tls(authority.client())
    return client


async def test_mail_arrives_over_tls_and_says_so(authority: Authority, settings: TlsSettings) -> None:
    recorder = Recorder()
    async with listening(recorder, tls=settings) as running:
        client = await running.connect()
        assert "STARTTLS" in await keywords(client)
        await client.start_tls(authority.client())
        assert "STARTTLS" not in await keywords(client)
        await client.begin()
        assert (await client.ask(b"Subject: x\r\n\r\n..\r\n.\r\n")).startswith("250 2.0.0")
        await client.ask("QUIT")
    message = recorder.messages[0]
    assert recorder.contents == [b"Subject: x\r\n\r\n.\r\n"]
    session = message.session
    assert (session.protocol, session.tls_version) == ("ESMTPS", "TLSv1.3")
    assert session.tls_cipher.startswith("TLS_")
    field = received_field(session, message.envelope, hostname=HOSTNAME, message_id="1").decode()
    assert f"with ESMTPS id 1\r\n\t(TLSv1.3 {session.tls_cipher})" in field
    assert type(session).from_list(session.to_list()) == session


async def test_requiretls_is_offered_inside_tls_alone_and_kept_with_the_envelope(authority: Authority, settings: TlsSettings) -> None:
    recorder = Recorder()
    async with listening(recorder, tls=settings, extensions=listener_module.DELIVERED) as running:
        client = await running.connect()
        assert "REQUIRETLS" not in await keywords(client)
        assert (await client.ask(f"{MAIL} REQUIRETLS")).startswith("555 ")
        await client.start_tls(authority.client())
        assert "REQUIRETLS" in await keywords(client)
        for command in (f"{MAIL} REQUIRETLS", RECIPIENT, "DATA"):
            await client.ask(command)
        await client.ask(b"Subject: x\r\n\r\n.\r\n")
        await client.ask("QUIT")
    [message] = recorder.messages
    assert message.envelope.options is not None
    assert message.envelope.options.requiretls
    assert type(message.envelope).from_list(message.envelope.to_list()) == message.envelope
    assert message.envelope.inherited == message.envelope.options


async def test_large_mail_over_tls_is_whole(authority: Authority, settings: TlsSettings, tmp_path: Path) -> None:
    recorder = Recorder()
    body = b"".join(b"%d %s\r\n" % (number, b"y" * 70) for number in range(60_000))
    async with listening(recorder, tls=settings, spill_directory=tmp_path) as running:
        client = await secured(running, authority)
        await client.begin()
        assert (await client.ask(body + b".\r\n")).startswith("250")
    path = recorder.messages[0].content_path
    assert path is not None
    assert path.read_bytes() == body


async def test_nothing_sent_in_the_clear_survives_the_switch(authority: Authority, settings: TlsSettings) -> None:
    recorder = Recorder()
    async with listening(recorder, tls=settings) as running:
        client = await running.connect()
        await client.ask("EHLO client.example")
        await client.send(b"STARTTLS\r\nNOOP\r\nMAIL FROM:<injected@partner.example>\r\nEHLO x\r\n")
        assert (await client.reply()).startswith("220")
        await client.handshake(authority.client())
        assert (await client.ask(MAIL)).startswith("503 5.5.1 Say EHLO")
        await client.ask("EHLO client.example")
        assert (await client.ask(RECIPIENT)).startswith("503 5.5.1 Need MAIL")
        await client.begin()
        await client.ask(b".\r\n")
    assert [message.reverse_path for message in recorder.messages] == ["a@partner.example"]


async def test_what_a_session_was_before_tls_is_forgotten(authority: Authority, settings: TlsSettings) -> None:
    async with listening(Recorder(), tls=settings) as running:
        client = await running.connect()
        assert (await client.ask("STARTTLS")).startswith("503")
        await client.ask("EHLO before.example")
        await client.ask(MAIL)
        assert (await client.ask("STARTTLS")).startswith("503 5.5.1")
        await client.ask("RSET")
        assert (await client.ask("STARTTLS now")).startswith("501 5.5.4")
        await client.start_tls(authority.client())
        assert (await client.ask(MAIL)).startswith("503")
        (connection,) = running.server.connections
        assert (connection.helo, connection.extended) == ("", False)
        await client.ask("EHLO after.example")
        assert (await client.ask("STARTTLS")).startswith("503 5.5.1 Already")


async def test_commands_in_one_tls_record_and_one_octet_a_record(authority: Authority, settings: TlsSettings) -> None:
    async with listening(Recorder(), tls=settings) as running:
        client = await secured(running, authority)
        commands = f"EHLO c\r\n{MAIL}\r\n{RECIPIENT}\r\nDATA\r\n".encode()
        await client.send(commands)
        assert [(await client.reply())[:3] for _ in range(4)] == ["250", "250", "250", "354"]
        assert (await client.ask(b".\r\n")).startswith("250")
        for octet in commands:
            await client.send(bytes([octet]))
        assert [(await client.reply())[:3] for _ in range(4)] == ["250", "250", "250", "354"]


async def test_replies_wait_for_the_receiver_inside_tls_too(authority: Authority, settings: TlsSettings) -> None:
    recorder = Recorder(hold=True)
    async with listening(recorder, tls=settings) as running:
        client = await secured(running, authority)
        await client.begin()
        await client.send(b"x\r\n.\r\n")
        await client.send(b"NOOP\r\nQUIT\r\n")
        await asyncio.sleep(0.05)
        recorder.messages[0].connection.finish(recorder.messages[0], Reply(250, "2.0.0", "late"))
        assert [await client.reply() for _ in range(3)] == ["250 2.0.0 late", "250 2.0.0 Ok", "221 2.0.0 Bye"]
        assert await client.is_closed()


async def test_where_tls_is_required_no_mail_is_taken_without(authority: Authority, settings: TlsSettings) -> None:
    required = TlsSettings("required", settings.certificates)
    recorder = Recorder()
    async with listening(recorder, tls=required) as running:
        client = await running.connect()
        await client.ask("EHLO c")
        assert (await client.ask(MAIL)).startswith("530 5.7.0")
        assert (await client.ask("NOOP")).startswith("250")
        await client.start_tls(authority.client())
        await client.begin()
        assert (await client.ask(b".\r\n")).startswith("250")


async def test_a_receiver_may_require_tls_of_one_client(authority: Authority, settings: TlsSettings) -> None:
    class Choosy(Recorder):
        def greet(self, connection: Connection) -> Answer:
            connection.needs_tls = connection.client_address == "127.0.0.5"
            return None

    async with listening(Choosy(), tls=settings) as running:
        for address, code in (("127.0.0.5", "530 5.7.0"), ("127.0.0.6", "250")):
            client = await running.connect(address=address)
            await client.ask("EHLO c")
            assert (await client.ask(MAIL)).startswith(code)


async def test_where_tls_is_off_it_is_not_known(settings: TlsSettings) -> None:
    async with listening(Recorder(), tls=TlsSettings("off", settings.certificates)) as running:
        client = await running.connect()
        assert "STARTTLS" not in await keywords(client)
        assert (await client.ask("STARTTLS")).startswith("502 5.5.1")


async def test_implicit_tls_greets_inside_tls(authority: Authority, settings: TlsSettings) -> None:
    async with listening(Recorder(), tls=TlsSettings("implicit", settings.certificates)) as running:
        client = await running.connect(greeting=False)
        await client.handshake(authority.client())
        assert (await client.reply()).startswith("220 ")
        assert "STARTTLS" not in await keywords(client)
        await client.begin()
        assert (await client.ask(b".\r\n")).startswith("250")


@pytest.mark.parametrize("octets", [b"this is not TLS\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 300, b"\x15\x03\x01\0\x02\x02\x28", b""])
async def test_a_handshake_of_garbage_ends_the_session_and_no_other(
    authority: Authority, settings: TlsSettings, octets: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "SWEEP_INTERVAL", 0.05)
    recorder = Recorder()
    async with listening(recorder, tls=settings, limits=Limits(command_timeout=0.3)) as running:
        client = await running.connect()
        await client.ask("EHLO c")
        await client.ask("STARTTLS")
        await client.send(octets)
        await client.reader.read()
        while not recorder.gone:
            await asyncio.sleep(0.01)
        client = await secured(running, authority)
        assert (await client.ask("EHLO c")).startswith("250")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_versions_are_spoken_with_either_key(authority: Authority, settings: TlsSettings, version: ssl.TLSVersion) -> None:
    async with listening(Recorder(), tls=settings) as running:
        for algorithms in ("ECDSA", "RSA"):
            context = authority.client(minimum=version)
            context.maximum_version = version
            if version == ssl.TLSVersion.TLSv1_2:
                context.set_ciphers(f"ECDHE+a{algorithms}" if algorithms == "ECDSA" else "ECDHE+aRSA")
            client = await running.connect()
            await client.ask("EHLO c")
            await client.start_tls(context)
            assert client.tls.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
            if version == ssl.TLSVersion.TLSv1_2:
                cipher = client.tls.cipher()
                assert cipher is not None
                assert algorithms in cipher[0]
            assert (await client.ask("EHLO c")).startswith("250")


async def test_each_name_gets_its_certificate(authority: Authority) -> None:
    certificates = (
        authority.certificate(HOSTNAME),
        authority.certificate("mail.other.example", "*.wild.example"),
        authority.certificate("mail.other.example", "*.wild.example", key="RSA"),
    )
    async with listening(Recorder(), tls=TlsSettings(certificates=certificates)) as running:
        for name in (HOSTNAME, "mail.other.example", "x.wild.example"):
            client = await running.connect()
            await client.ask("EHLO c")
            await client.start_tls(authority.client(), name)
            assert (await client.ask("EHLO c")).startswith("250")
        client = await running.connect()
        await client.ask("EHLO c")
        with pytest.raises(ssl.SSLCertVerificationError):
            await client.start_tls(authority.client(), "unknown.example")


async def test_a_reload_takes_new_certificates_and_a_bad_one_keeps_the_old(authority: Authority, tmp_path: Path) -> None:
    certificate = authority.certificate()

    async def serial(running: Listening) -> object:
        client = await running.connect()
        await client.ask("EHLO c")
        await client.start_tls(authority.client())
        found = client.tls.getpeercert()
        assert found is not None
        return found["serialNumber"]

    async with listening(Recorder(), tls=TlsSettings(certificates=(certificate,))) as running:
        assert running.server.tls is not None
        before = await serial(running)
        newer = authority.certificate()
        certificate.chain.write_bytes(newer.chain.read_bytes())
        assert not running.server.tls.reload()  # the key is still the old one's
        assert await serial(running) == before
        certificate.key.write_bytes(newer.key.read_bytes())
        assert running.server.tls.reload()
        after = await serial(running)
        assert after != before
        certificate.chain.write_text("cut short")
        assert not running.server.tls.reload()
        certificate.chain.unlink()
        assert not running.server.tls.reload()
        assert await serial(running) == after


async def test_a_client_certificate_is_verified_and_named(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other")
    mode = TlsSettings(certificates=(authority.certificate(),), client_certificates="requested", client_authorities=authority.file)
    recorder = Recorder()
    async with listening(recorder, tls=mode) as running:
        for own in (authority.certificate("client.example"), None):
            client = await running.connect()
            await client.ask("EHLO c")
            await client.start_tls(authority.client(certificate=own))
            await client.begin()
            await client.ask(b".\r\n")
        client = await running.connect()
        await client.ask("EHLO c")
        with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
            await client.start_tls(authority.client(certificate=stranger.certificate("client.example")))
            assert await client.ask("EHLO c")
    assert [bool(message.session.tls_client) for message in recorder.messages] == [True, False]


@pytest.mark.parametrize("sort", ["mismatch", "no key", "no certificate", "swapped", "none"])
def test_certificates_that_cannot_be_used_are_told_with_their_file(authority: Authority, tmp_path: Path, sort: str) -> None:
    one, two = authority.certificate(), authority.certificate()
    wrong = {
        "mismatch": (Certificate(one.chain, two.key),),
        "no key": (Certificate(one.chain, tmp_path / "absent"),),
        "no certificate": (Certificate(tmp_path / "absent", one.key),),
        "swapped": (Certificate(one.key, one.chain),),
        "none": (),
    }[sort]
    with pytest.raises(ConfigurationError) as caught:
        Tls(TlsSettings(certificates=wrong))
    assert caught.value.mend
    assert sort == "none" or str(tmp_path) in str(caught.value)


# --- real programs


def s_client(port: int, *arguments: str) -> str:
    command = ["openssl", "s_client", "-starttls", "smtp", "-connect", f"127.0.0.1:{port}", "-name", "client.example", *arguments]
    done = subprocess.run(command, input=b"QUIT\r\n", capture_output=True, timeout=30)
    return done.stdout.decode("utf-8", "replace") + done.stderr.decode("utf-8", "replace")


@pytest.mark.servers
@pytest.mark.parametrize(
    ("arguments", "agreed"),
    [
        (["-tls1_3"], True),
        (["-tls1_2"], True),
        (["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], False),
        (["-tls1", "-cipher", "DEFAULT@SECLEVEL=0"], False),
        (["-tls1_2", "-cipher", "AES128-SHA"], False),
        (["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], True),
    ],
)
async def test_openssl_agrees_on_sound_versions_and_ciphers_only(
    server_program: Callable[[str], str], settings: TlsSettings, arguments: list[str], agreed: bool
) -> None:
    server_program("openssl")
    async with listening(Recorder(), tls=settings) as running:
        text = await asyncio.to_thread(s_client, running.port, *arguments)
    assert (re.search(r"Cipher is \(NONE\)|Cipher    : 0000", text) is None) == agreed, text


@pytest.mark.servers
async def test_renegotiation_is_refused(server_program: Callable[[str], str], settings: TlsSettings) -> None:
    server_program("openssl")
    async with listening(Recorder(), tls=settings) as running:
        command = ["openssl", "s_client", "-starttls", "smtp", "-connect", f"127.0.0.1:{running.port}", "-tls1_2"]
        done = await asyncio.to_thread(subprocess.run, command, input=b"R\n" * 5, capture_output=True, timeout=30)
    assert b"no renegotiation" in done.stderr


@pytest.mark.servers
@pytest.mark.parametrize("arguments", [["--tls"], ["--tls", "--pipeline"]])
async def test_swaks_sends_over_tls(server_program: Callable[[str], str], settings: TlsSettings, arguments: list[str]) -> None:
    recorder = Recorder()
    async with listening(recorder, tls=settings) as running:
        command = [server_program("swaks"), "--server", f"127.0.0.1:{running.port}", "--to", "user@example.com", "--from", "a@x.example"]
        done = await asyncio.to_thread(subprocess.run, [*command, *arguments], capture_output=True, timeout=60)
        assert done.returncode == 0, done.stdout
    assert recorder.messages[0].session.tls_version
