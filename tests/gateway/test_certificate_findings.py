"""What is wrong with certificates is found, said with its mend, and OpenSSL agrees."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from esa.gateway.certificates.checking import Checked, check_files
from esa.gateway.certificates.facts import openssl_time
from esa.gateway.certificates.files import read, read_authorities
from esa.gateway.certificates.findings import WARNED_AT, examine, warned_at
from tests.gateway.chains import HOST, ISSUED_AT, SEED_END, Chains, Key, issue
from tests.gateway.openssl import keys_agree, openssl, refusal

KEYS: tuple[Key, ...] = ("rsa", "ecdsa", "ed25519")


@pytest.fixture
def chains(tmp_path: Path) -> Chains:
    return Chains(tmp_path)


def check(chains: Chains, chain: Path, key: Path | None, *names: str) -> Checked:
    return check_files(chain, key, now=datetime.now(UTC), names=names, authorities=read_authorities(chains.authorities))


def codes(checked: Checked) -> list[str]:
    return [finding.code for finding in checked.findings]


@pytest.mark.parametrize("kind", KEYS)
def test_a_good_chain_has_nothing_wrong_and_openssl_takes_it(chains: Chains, kind: Key) -> None:
    chain, key = chains.good(HOST, "*.example.net", key=kind)
    checked = check(chains, chain, key, HOST, "a.example.net")
    assert (codes(checked), checked.openssl, refusal(chain, chains.authorities)) == ([], "", "")
    assert keys_agree(chain, key)


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_of_another_certificate_is_found_and_the_right_one_is_named(chains: Chains, kind: Key) -> None:
    chain, right = chains.good(key=kind)
    _, wrong = chains.good(key=kind)
    checked = check(chains, chain, wrong)
    assert codes(checked) == ["key-mismatch"]
    assert checked.findings[0].mend == f"use {right}: it holds the key of this certificate"
    assert not keys_agree(chain, wrong)
    assert keys_agree(chain, right)


def test_a_key_of_another_kind_does_not_belong_either(chains: Chains) -> None:
    chain, _ = chains.good(key="ecdsa")
    _, other = chains.good(key="ed25519")
    assert codes(check(chains, chain, other)) == ["key-mismatch"]


def test_a_missing_intermediate_is_named_with_where_it_is(chains: Chains) -> None:
    chain, key = chains.files(chains.server())
    checked = check(chains, chain, key)
    (finding,) = checked.findings
    assert (finding.code, finding.severity) == ("missing-intermediate", "fault")
    assert "CN=Test Intermediate is missing" in finding.what
    assert ISSUED_AT in finding.mend
    assert checked.openssl == refusal(chain, chains.authorities) == "unable to get local issuer certificate"


def test_the_wrong_order_is_found_and_the_right_one_is_said(chains: Chains) -> None:
    server = chains.server()
    chain, key = chains.files(chains.intermediate, server, key=server)
    checked = check(chains, chain, key)
    assert codes(checked) == ["wrong-order"]
    assert checked.findings[0].mend == f"write them in the order 2, 1: CN={HOST} → CN=Test Intermediate"
    assert checked.openssl is None  # OpenSSL does not even load it
    assert not keys_agree(chain, key)


def test_intermediate_certificates_in_the_wrong_order_are_found(chains: Chains) -> None:
    lower = issue("Lower", by=chains.intermediate, is_authority=True)
    server = issue(HOST, by=lower, names=[HOST])
    chain, key = chains.files(server, chains.intermediate, lower)
    assert codes(check(chains, chain, key)) == ["wrong-order"]
    assert "order 1, 3, 2" in check(chains, chain, key).findings[0].mend


def test_an_expired_certificate_is_told_as_openssl_tells_it(chains: Chains) -> None:
    chain, key = chains.files(chains.server(end=SEED_END), chains.intermediate)
    checked = check(chains, chain, key)
    assert codes(checked) == ["expired"]
    said = openssl("x509", "-noout", "-enddate", "-in", chain).strip()
    assert said == "notAfter=May 20 22:00:00 2019 GMT"
    assert said in checked.findings[0].what
    assert checked.openssl == refusal(chain, chains.authorities) == "certificate has expired"


def test_an_expired_intermediate_is_found_too(chains: Chains) -> None:
    old = issue("Old Intermediate", by=chains.root, is_authority=True, end=SEED_END)
    chain, key = chains.files(issue(HOST, by=old, names=[HOST]), old)
    checked = check(chains, chain, key)
    assert codes(checked) == ["expired"]
    assert "CN=Old Intermediate has expired" in checked.findings[0].what


def test_a_certificate_that_is_not_valid_yet_is_found(chains: Chains) -> None:
    begin = datetime.now(UTC) + timedelta(days=3)
    chain, key = chains.files(chains.server(begin=begin, end=begin + timedelta(days=90)), chains.intermediate)
    checked = check(chains, chain, key)
    assert codes(checked) == ["not-yet-valid"]
    assert checked.openssl == refusal(chain, chains.authorities) == "certificate is not yet valid"


@pytest.mark.parametrize("days", WARNED_AT)
def test_the_end_is_warned_of_at_each_step(chains: Chains, days: int) -> None:
    now = datetime.now(UTC)
    server = chains.server(begin=now - timedelta(days=300), end=now + timedelta(days=days, hours=1))
    found = examine([server.certificate, chains.intermediate.certificate], now=now)
    assert [(one.code, one.severity) for one in found] == [("expires", "warning" if days <= 30 else "note")]


def test_steps_are_reached_from_above() -> None:
    assert [warned_at(left, 365) for left in (61, 60, 31, 30, 14, 8, 7, 1, 0)] == [None, 60, 60, 30, 14, 14, 7, 1, 1]


def test_steps_in_the_first_half_of_a_life_are_left_out() -> None:
    assert [warned_at(left, 90) for left in (60, 31, 30)] == [None, None, 30]
    assert [warned_at(left, 6) for left in (6, 2, 1)] == [None, None, 1]


def test_a_weak_key_is_refused(chains: Chains) -> None:
    chain, key = chains.files(chains.server(key="rsa-1024"), chains.intermediate)
    checked = check(chains, chain, key)
    assert codes(checked) == ["weak-key"]
    assert "RSA 1024" in checked.findings[0].what
    assert "ee key too small" in (checked.openssl or "")
    assert "too weak" in refusal(chain, chains.authorities) or "too small" in refusal(chain, chains.authorities)


def test_a_weak_digest_is_refused(chains: Chains) -> None:
    chain, key = chains.files(*chains.with_sha1())
    assert codes(check(chains, chain, key)) == ["weak-digest"]
    assert "CA signature digest algorithm too weak" in refusal(chain, chains.authorities)


def test_names_are_looked_at_one_by_one(chains: Chains) -> None:
    chain, key = chains.good(HOST)
    checked = check(chains, chain, key, HOST, "other.example.org")
    assert [(one.code, one.what) for one in checked.findings] == [
        ("name-not-covered", f"the certificate does not stand for other.example.org, but for {HOST}")
    ]


def test_a_certificate_with_a_common_name_only_stands_for_nothing(chains: Chains) -> None:
    chain, key = chains.files(issue(HOST, by=chains.intermediate), chains.intermediate)
    assert codes(check(chains, chain, key, HOST)) == ["no-names", "name-not-covered"]


def test_a_certificate_signed_by_itself_is_a_warning_and_trusted_ones_are_none(chains: Chains) -> None:
    own = issue(HOST, by=None, names=[HOST])
    chain, key = chains.files(own)
    checked = check(chains, chain, key)
    assert [(one.code, one.severity) for one in checked.findings] == [("self-signed", "warning")]
    assert checked.openssl == "self-signed certificate"
    trusted = check_files(chain, key, now=datetime.now(UTC), authorities=[own.certificate])
    assert (trusted.findings, trusted.openssl) == ((), "")


def test_a_root_in_the_chain_is_a_note_and_a_stranger_a_warning(chains: Chains) -> None:
    stranger = issue("Stranger", by=None, is_authority=True)
    chain, key = chains.files(chains.server(), chains.intermediate, chains.root, stranger)
    checked = check(chains, chain, key)
    assert [(one.code, one.severity) for one in checked.findings] == [("root-in-chain", "note"), ("stranger-in-chain", "warning")]
    assert checked.openssl == ""


def test_an_unknown_root_is_refused_with_openssls_word(chains: Chains, tmp_path: Path) -> None:
    chain, key = chains.files(chains.server(), chains.intermediate, chains.root)
    other = issue("Other Root", by=None, is_authority=True)
    checked = check_files(chain, key, now=datetime.now(UTC), authorities=[other.certificate])
    assert [(one.code, one.severity) for one in checked.findings] == [("root-in-chain", "note"), ("unknown-authority", "warning")]
    assert checked.openssl == "self-signed certificate in certificate chain"
    without, key = chains.files(chains.server(), chains.intermediate)
    checked = check_files(without, key, now=datetime.now(UTC), authorities=[other.certificate])
    assert codes(checked) == ["unknown-authority"]
    assert "leads to CN=Test Root" in checked.findings[0].what
    assert checked.openssl == "unable to get local issuer certificate"


def test_one_who_may_not_sign_is_found(chains: Chains) -> None:
    middle = chains.server("middle.example")
    chain, key = chains.files(issue(HOST, by=middle, names=[HOST]), middle, chains.intermediate)
    checked = check(chains, chain, key)
    assert codes(checked) == ["not-an-authority"]
    assert checked.openssl != ""


def test_many_certificates_that_sign_each_other_end(chains: Chains) -> None:
    ring = [issue("Ring", by=None, is_authority=True).certificate for _ in range(20)]
    assert examine(ring, now=datetime.now(UTC))


def test_a_chain_file_may_hold_its_key(chains: Chains, tmp_path: Path) -> None:
    chain, key = chains.good()
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + chain.read_bytes())
    both.chmod(0o600)
    checked = check(chains, both, None)
    assert (codes(checked), checked.openssl) == ([], "")


def test_times_are_written_as_openssl_writes_them(chains: Chains) -> None:
    for end in (SEED_END, datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC)):
        chain, _ = chains.files(chains.server(end=end))
        assert openssl("x509", "-noout", "-enddate", "-in", chain).strip() == f"notAfter={openssl_time(end)}"


def test_fingerprints_are_those_of_openssl(chains: Chains) -> None:
    from esa.gateway.certificates.facts import facts_of

    chain, _ = chains.good(key="rsa")
    facts = facts_of(read(chain).certificates[0], datetime.now(UTC))
    said = openssl("x509", "-noout", "-fingerprint", "-sha256", "-serial", "-in", chain)
    assert facts.fingerprint.upper() in said.replace(":", "")
    assert facts.serial.upper() in said.upper()


def test_a_key_that_everybody_can_read_is_a_warning(chains: Chains) -> None:
    chain, key = chains.good()
    key.chmod(0o640)
    assert codes(check(chains, chain, key)) == []
    key.chmod(0o644)
    (finding,) = check(chains, chain, key).findings
    assert (finding.code, finding.severity, finding.mend.partition(";")[0]) == ("key-open", "warning", f"chmod 600 {key}")
