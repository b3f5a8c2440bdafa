"""OpenLDAP's own server on loopback, with a directory of one's own."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BASE = "dc=example,dc=org"
MANAGER, PASSWORD = f"cn=manager,{BASE}", "a secret of tests"
PERSON = """
dn: uid={uid},ou=people,{base}
objectClass: inetOrgPerson
uid: {uid}
cn: {uid}
sn: {uid}
mail: {uid}@example.org
userPassword: {uid}'s secret
"""
ROOT = f"""
dn: {BASE}
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,{BASE}
objectClass: organizationalUnit
ou: people
"""


@dataclass
class Slapd:
    """A running server. `needs_bind`: it tells nothing to those who have not said who they are."""

    port: int
    tls_port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"ldap://127.0.0.1:{self.port}"


@contextmanager
def slapd_running(
    program: str,
    folder: Path,
    people: Sequence[str],
    *,
    certificate: tuple[Path, Path, Path] | None = None,
    needs_bind: bool = False,
    more: str = "",
) -> Iterator[Slapd]:
    """`certificate`: chain, key and authority, for StartTLS and ldaps. `more`: further entries, as LDIF."""
    (folder / "data").mkdir(parents=True)
    port, tls_port = _free_port(), _free_port()
    lines = [
        "include /etc/ldap/schema/core.schema",
        "include /etc/ldap/schema/cosine.schema",
        "include /etc/ldap/schema/inetorgperson.schema",
        "modulepath /usr/lib/ldap",
        "moduleload back_mdb",
        f"pidfile {folder}/pid",
        *([f"TLSCertificateFile {certificate[0]}", f"TLSCertificateKeyFile {certificate[1]}", f"TLSCACertificateFile {certificate[2]}"]
          if certificate else []),
        "database mdb",
        "maxsize 268435456",
        f'suffix "{BASE}"',
        f'rootdn "{MANAGER}"',
        f'rootpw "{PASSWORD}"',
        f"directory {folder}/data",
        "index mail,uid eq",
        f"access to * by {'users' if needs_bind else '*'} read{' by anonymous auth' if needs_bind else ''}",
    ]  # fmt: skip
    (folder / "slapd.conf").write_text("\n".join(lines) + "\n")
    (folder / "people.ldif").write_text(ROOT + "".join(PERSON.format(uid=uid, base=BASE) for uid in people) + more)
    subprocess.run(
        [program, "-T", "add", "-q", "-f", f"{folder}/slapd.conf", "-l", f"{folder}/people.ldif"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    urls = f"ldap://127.0.0.1:{port}" + (f" ldaps://127.0.0.1:{tls_port}" if certificate else "")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "-h", urls, "-f", f"{folder}/slapd.conf", "-d", "0"], stdout=log, stderr=log)
    try:
        for one in [port, tls_port] if certificate else [port]:
            _wait_for(one, process)
        yield Slapd(port, tls_port, process)
    finally:
        process.terminate()
        process.wait(20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("slapd did not start")
