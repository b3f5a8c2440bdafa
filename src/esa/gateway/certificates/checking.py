"""A certificate of the configuration, of files or of a server, checked as a whole: findings, and OpenSSL's word. `esa cert check` calls it."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from cryptography import x509

from esa.config.schema import Configuration
from esa.gateway.certificates import findings, trial
from esa.gateway.certificates.facts import days_left, facts_of, name_text
from esa.gateway.certificates.files import CertificateError, belongs, key_beside, read
from esa.gateway.certificates.findings import Finding
from esa.gateway.peers.probe import Look


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found of one chain. `openssl`: why a client refuses it, empty if it takes it; None where that could not be tried."""

    target: str
    now: datetime
    certificates: tuple[x509.Certificate, ...]
    findings: tuple[Finding, ...]
    openssl: str | None = None

    @property
    def title(self) -> str:
        if not self.certificates:
            return self.target
        first = self.certificates[0]
        left = days_left(first, self.now)
        end = f"ends {first.not_valid_after_utc:%Y-%m-%d}, {left} days left" if left >= 0 else f"ended {first.not_valid_after_utc:%Y-%m-%d}"
        return f"{self.target}: {name_text(first.subject)}, {end}"

    @property
    def needs_mending(self) -> bool:
        return any(finding.severity != "note" for finding in self.findings)

    def as_object(self) -> dict[str, object]:
        """For machines."""
        return {
            "target": self.target,
            "good": not self.needs_mending,
            "openssl": self.openssl,
            "findings": [asdict(finding) for finding in self.findings],
            "certificates": [asdict(facts_of(one, self.now)) for one in self.certificates],
        }


def check_files(
    chain: Path,
    key: Path | None,
    *,
    now: datetime,
    names: Sequence[str] = (),
    authorities: Sequence[x509.Certificate] = (),
    password: bytes | None = None,
) -> Checked:
    """A chain and its key, which may stand in the same file. Raises CertificateError for what cannot be read."""
    bundle = read(chain, password=password)
    secret = bundle.key if key is None else read(key, password=password).key
    found = findings.examine(bundle.certificates, secret, now=now, names=names, authorities=authorities)
    target = str(chain) if key is None else f"{chain}, {key}"
    if key is not None:
        if secret is None:
            found.insert(
                0, Finding("key-mismatch", "fault", f"there is no key in {key}", "name the file with the key first, then look again")
            )
        elif any(one.code == "key-mismatch" for one in found):
            found = _with_right_key(found, chain, key, bundle.certificates)
    holder = key or chain
    if secret is not None and password is None and holder.stat().st_mode & stat.S_IROTH:
        what = f"the key in {holder} can be read by every user of this machine"
        found.append(
            Finding("key-open", "warning", what, f"chmod 600 {holder}; if there are other users, request a certificate for a new key")
        )
    openssl = None
    if secret is not None and bundle.form == "PEM" and bundle.certificates and belongs(secret, bundle.certificates[0]):
        openssl = _ask_openssl(chain, key or chain, authorities, password)
        if openssl and not any(one.severity == "fault" or one.code in findings.UNTRUSTED for one in found):
            mend = "see docs/certificates.md; an authority of your own is named with --authorities"
            found.append(Finding("refused", "fault", f"clients refuse the chain: {openssl}", mend))
    return Checked(target, now, bundle.certificates, tuple(found), openssl)


def check_peer(
    seen: Look, *, now: datetime, names: Sequence[str] = (), authorities: Sequence[x509.Certificate] = (), target: str = ""
) -> Checked:
    """What a server showed, which must stand for its own name too. Raises CertificateError if it showed nothing."""
    target = target or f"{seen.scheme}://{seen.host}:{seen.port}"
    if not seen.chain:
        raise CertificateError(seen.reason or "the server showed no certificate", where=target, mend="esa tlsverify tells how far it came")
    found = findings.examine(seen.chain, now=now, names=(seen.host, *names), authorities=authorities)
    if seen.refusal and not any(one.severity == "fault" or one.code in findings.UNTRUSTED for one in found):
        mend = "see docs/certificates.md; an authority of your own is named with --authorities"
        found.append(Finding("refused", "fault", f"clients refuse the chain: {seen.refusal}", mend))
    return Checked(target, now, seen.chain, tuple(found), seen.refusal)


def check_configuration(
    configuration: Configuration, *, now: datetime, names: Sequence[str] = (), authorities: Sequence[x509.Certificate] = ()
) -> list[Checked]:
    """Every [[certificate]] of a resolved configuration. The host name of the gateway, and `names`, must be covered by one of them.

    Raises CertificateError for what cannot be read.
    """
    wanted = (configuration.gateway.hostname, *names)
    checked = [check_files(Path(one.chain), Path(one.key), now=now, authorities=authorities) for one in configuration.certificate]
    with_names = [findings.names_missing(one.certificates[:1], wanted) for one in checked]
    missing = set(wanted).intersection(*with_names)
    if not missing:
        return checked
    first = checked[0]
    found = (*first.findings, *findings.coverage(first.certificates[0], sorted(missing))) if first.certificates else first.findings
    return [replace(first, findings=tuple(found)), *checked[1:]]


def _with_right_key(found: Sequence[Finding], chain: Path, key: Path, certificates: Sequence[x509.Certificate]) -> list[Finding]:
    """Say which file beside the wrong key holds the right one."""
    right = key_beside(chain, certificates, but=key)
    if right is None:
        return list(found)
    return [replace(one, mend=f"use {right}: it holds the key of this certificate") if one.code == "key-mismatch" else one for one in found]


def _ask_openssl(chain: Path, key: Path, authorities: Sequence[x509.Certificate], password: bytes | None) -> str | None:
    try:
        return trial.refusal(chain, key, authorities=authorities, password=password or b"")
    except (ssl.SSLError, OSError) as error:
        return str(error.reason if isinstance(error, ssl.SSLError) and error.reason else error).replace("_", " ").lower()
