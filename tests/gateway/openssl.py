"""The program openssl, asked what it thinks of files."""

from __future__ import annotations

import subprocess
from pathlib import Path


def openssl(*arguments: object, fails: bool = False) -> str:
    """What `openssl ARGUMENTS` prints; it must succeed unless it may fail."""
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0 or fails, done.stderr
    return done.stdout + done.stderr


def keys_agree(chain: Path, key: Path) -> bool:
    """Whether the first certificate was made for the key, for any kind of key."""
    return openssl("x509", "-noout", "-pubkey", "-in", chain) == openssl("pkey", "-pubout", "-in", key)


def refusal(chain: Path, authorities: Path) -> str:
    """Why `openssl verify` refuses the first certificate of a file, with the rest as what a server sends along; empty if it takes it."""
    said = openssl(
        *("verify", "-no-CApath", "-no-CAstore", "-purpose", "sslserver", "-auth_level", "2"),
        *("-CAfile", authorities, "-untrusted", chain, chain),
        fails=True,
    )
    if said.strip().endswith(": OK"):
        return ""
    return next(line.partition(": ")[2] for line in said.splitlines() if line.startswith("error "))
