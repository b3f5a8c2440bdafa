"""`esa cert`, as an administrator calls it; the files it makes are taken by OpenSSL."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, pkcs12

from tests.cli.command import esa
from tests.gateway.chains import HOST, SEED_END, Chains
from tests.gateway.openssl import keys_agree, openssl
from tests.gateway.tls_lab import LabServer, server_context
from tests.gateway.zone_server import zone_server


@pytest.fixture
def chains(tmp_path: Path) -> Chains:
    return Chains(tmp_path)


def test_show_tells_the_end_as_openssl_does_and_the_chain(chains: Chains) -> None:
    chain, _ = chains.files(chains.server(end=SEED_END), chains.intermediate)
    done = esa("cert", "show", chain)
    assert done.code == 0
    assert "(PEM): 2 certificates" in done.out
    assert "notAfter=May 20 22:00:00 2019 GMT   expired" in done.out
    assert f"subject      CN={HOST}\n     names        {HOST}\n     issuer       CN=Test Intermediate\n" in done.out


def test_show_reads_der_and_pkcs12_and_says_what_a_password_is_needed_for(chains: Chains, tmp_path: Path) -> None:
    server = chains.server()
    der, store, secret = tmp_path / "mx.der", tmp_path / "mx.p12", tmp_path / "secret"
    der.write_bytes(server.certificate.public_bytes(Encoding.DER))
    assert isinstance(server.key, ec.EllipticCurvePrivateKey)
    octets = pkcs12.serialize_key_and_certificates(
        b"mx", server.key, server.certificate, [chains.intermediate.certificate], BestAvailableEncryption(b"open sesame")
    )
    store.write_bytes(octets)
    secret.write_text("open sesame\n")
    (shown,) = esa("cert", "show", "--json", der).lines
    assert (shown["form"], shown["has_key"]) == ("DER", False)
    (shown,) = esa("cert", "show", "--json", store, "--password-file", secret).lines
    certificates = shown["certificates"]
    assert isinstance(certificates, list)
    assert (shown["form"], shown["has_key"], len(certificates)) == ("PKCS#12", True, 2)
    assert certificates[0]["names"] == [HOST]
    without = esa("cert", "show", store)
    assert (without.code, without.err) == (3, f"esa: {store}: the PKCS#12 file needs a password\ngive it with --password-file FILE\n")
    checked = esa("cert", "check", store, "--password-file", secret, "--authorities", chains.authorities)
    assert checked.code == 0, checked.out


def test_an_encrypted_key_is_opened_by_its_password(chains: Chains, tmp_path: Path) -> None:
    chain, key = chains.good()
    locked, secret = tmp_path / "locked", tmp_path / "secret"
    loaded = chains.server().key
    locked.write_bytes(loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame")))
    secret.write_text("open sesame\n")
    assert "the key is encrypted" in esa("cert", "check", chain, locked).err
    done = esa("cert", "check", chain, locked, "--password-file", secret, "--authorities", chains.authorities)
    assert f"use {key}: it holds the key of this certificate" in done.out


def test_check_says_each_fault_with_its_mend_on_one_line(chains: Chains) -> None:
    chain, _ = chains.good()
    _, wrong = chains.good("other.example.org")
    done = esa("cert", "check", chain, wrong, "--authorities", chains.authorities, "--name", "mx2.example.org")
    assert done.code == 1
    said = done.out.splitlines()
    assert said[1].startswith("  fault: the key does not belong to the certificate")
    assert said[2] == f"    use {chains.folder / 'chain-1.key'}: it holds the key of this certificate"
    assert said[3] == f"  fault: the certificate does not stand for mx2.example.org, but for {HOST}"


def test_check_without_arguments_checks_the_configuration_and_its_host_name(chains: Chains, tmp_path: Path) -> None:
    chain, key = chains.good("mx.example.net")
    other, other_key = chains.good("www.example.net")
    configuration = tmp_path / "esa.toml"
    tables = "".join(f'[[certificate]]\nchain = "{one.name}"\nkey = "{two.name}"\n' for one, two in ((other, other_key), (chain, key)))
    configuration.write_text(f'[gateway]\nhostname = "mx.example.net"\n{tables}')
    good = esa("cert", "check", "--config", configuration, "--authorities", chains.authorities, "--json")
    assert (good.code, [line["good"] for line in good.lines]) == (0, [True, True])
    configuration.write_text(f'[gateway]\nhostname = "mail.example.net"\n{tables}')
    bad = esa("cert", "check", "--config", configuration, "--authorities", chains.authorities)
    assert bad.code == 1
    assert "the certificate does not stand for mail.example.net, but for www.example.net" in bad.out


async def test_hosts_that_mx_records_name_must_be_covered(chains: Chains, tmp_path: Path) -> None:
    chain, key = chains.good("mx1.example.org")
    zone = {("example.org", "MX"): ["10 mx1.example.org.", "20 mx2.example.org."]}
    async with zone_server(zone) as names:
        configuration = tmp_path / "esa.toml"
        text = f'[gateway]\nhostname = "mx1.example.org"\n[dns]\nservers = ["{names.address}"]\n'
        configuration.write_text(f'{text}[[certificate]]\nchain = "{chain}"\nkey = "{key}"\n')
        options = ("cert", "check", "--config", configuration, "--authorities", chains.authorities)
        done = await asyncio.to_thread(esa, *options, "--mx", "example.org")
        none = await asyncio.to_thread(esa, *options, "--mx", "none.example")
        doctor = await asyncio.to_thread(esa, "doctor", "--config", configuration, "--json")
    assert done.code == 1
    assert [line for line in done.out.splitlines() if "fault" in line] == [
        "  fault: the certificate does not stand for mx2.example.org, but for mx1.example.org"
    ]
    assert (none.code, none.err.splitlines()[0]) == (3, "esa: --mx none.example: none.example has neither MX records nor an address")
    findings = doctor.lines[0]["findings"]
    assert isinstance(findings, list)
    (found,) = (one for one in findings if one["name"] == "certificate")
    assert (found["state"], "no authority that is trusted here" in found["text"]) == ("note", True)


def test_what_is_no_certificate_is_said(tmp_path: Path, chains: Chains) -> None:
    junk, cut = tmp_path / "junk.pem", tmp_path / "cut.pem"
    junk.write_bytes(b"hello")
    cut.write_bytes(b"\n\n" + chains.server().pem.replace(b"MII", b"AII", 1))
    assert (esa("cert", "show", junk).code, esa("cert", "show", tmp_path / "none").code) == (3, 3)
    assert "the certificate that begins in line 3 is damaged" in esa("cert", "check", cut).err
    assert esa("cert", "check", cut, "--config", "x").code == 2


@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "ed25519"])
def test_a_request_holds_all_names_and_openssl_verifies_it(tmp_path: Path, kind: str) -> None:
    key, wish = tmp_path / "mx.key", tmp_path / "mx.csr"
    done = esa("cert", "csr", "mx.example.org", "bücher.example", "192.0.2.1", "--key", key, "--out", wish, "--key-type", kind)
    assert done.code == 0, done.err
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    shown = openssl("req", "-in", wish, "-noout", "-text", "-verify")
    assert "verify OK" in shown
    assert "DNS:mx.example.org, DNS:xn--bcher-kva.example, IP Address:192.0.2.1" in shown
    before = key.read_bytes()
    (line,) = esa("cert", "csr", "mx.example.org", "--key", key, "--out", wish, "--force", "--json").lines
    assert line == {"request": str(wish), "key": str(key), "is_new_key": False}
    again = esa("cert", "csr", "mx.example.org", "--key", key, "--out", wish)
    assert (again.code, again.err.splitlines()[0]) == (3, f"esa: {wish}: there is such a file already")
    assert esa("cert", "csr", "mx.example.org", "--key", key, "--out", wish, "--force").code == 0
    assert key.read_bytes() == before


def test_a_name_that_is_none_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    done = esa("cert", "csr", "mx example", "--key", tmp_path / "k", "--out", tmp_path / "r")
    assert (done.code, list(tmp_path.iterdir())) == (3, [])


@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "ed25519"])
def test_a_certificate_that_signs_itself_is_served_and_checked(tmp_path: Path, kind: str) -> None:
    key, chain = tmp_path / "mx.key", tmp_path / "mx.pem"
    done = esa("cert", "self-signed", "mx.example.org", "--key", key, "--out", chain, "--key-type", kind)
    assert done.code == 0, done.err
    assert keys_agree(chain, key)
    (checked,) = esa("cert", "check", chain, key, "--name", "mx.example.org", "--json").lines
    found = checked["findings"]
    assert isinstance(found, list)
    assert [one["code"] for one in found] == ["self-signed"]
    (shown,) = esa("cert", "show", "--json", chain).lines
    assert json.dumps(shown).count(done.err.rsplit(" ", 1)[1].strip()) == 1  # the TLSA record to publish has the digest of its key


async def test_a_living_servers_certificate_is_shown_and_checked(chains: Chains) -> None:
    async with LabServer(server_context(*chains.good("localhost"))) as server:
        target = f"smtp://localhost:{server.port}"
        shown = await asyncio.to_thread(esa, "cert", "show", target, "--authorities", chains.authorities)
        checked = await asyncio.to_thread(esa, "cert", "check", target, "--authorities", chains.authorities)
        untrusted = await asyncio.to_thread(esa, "cert", "check", target, "--json")
        said = await asyncio.to_thread(
            openssl, "s_client", "-starttls", "smtp", "-connect", f"127.0.0.1:{server.port}", "-showcerts", fails=True
        )
    assert shown.code == 0, shown.err
    assert f"{target} (TLSv1.3 TLS_AES_256_GCM_SHA384): 2 certificates\n  1  subject      CN=localhost\n" in shown.out
    assert (checked.code, checked.out.splitlines()[1:]) == (0, ["  OpenSSL, as a client: takes it", "  all is well"])
    (line,) = untrusted.lines
    assert (untrusted.code, line["openssl"]) == (1, "unable to get local issuer certificate")
    assert said.count("BEGIN CERTIFICATE") >= 2


async def test_a_server_without_tls_shows_nothing_and_says_why(chains: Chains) -> None:
    async with LabServer(offers=False) as server:
        target = f"smtp://127.0.0.1:{server.port}"
        shown = await asyncio.to_thread(esa, "cert", "show", target)
        checked = await asyncio.to_thread(esa, "cert", "check", target)
    assert (shown.code, shown.err) == (3, f"{target}: the next hop does not offer STARTTLS\n")
    assert (checked.code, checked.err.splitlines()[0]) == (3, f"esa: {target}: the next hop does not offer STARTTLS")
