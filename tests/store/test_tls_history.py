"""Looks at other servers are kept, and the next one says what has changed."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.store.folder import take_lock
from esa.store.tls_history import FILE_NAME, LOCK_NAME, LOOKS, Seen, add, changes, read

GOOD = Seen(
    "example.org", "mx.example.org", 25, 1.0, "", "", "TLSv1.3", "TLS_AES_256_GCM_SHA384", "aa", "bb", 1_900_000_000.0, "absent", "absent"
)


def test_the_look_before_is_given_back_and_all_can_be_read(tmp_path: Path) -> None:
    other = replace(GOOD, host="mx2.example.org")
    assert add(tmp_path, [GOOD, other]) == [None, None]
    assert add(tmp_path, [replace(GOOD, at=2.0)]) == [GOOD]
    assert [(one.at, one.host) for one in read(tmp_path, "example.org")] == [(1.0, GOOD.host), (1.0, other.host), (2.0, GOOD.host)]
    assert read(tmp_path, "example.net") == read(tmp_path / "none", "example.org") == []


def test_only_the_last_looks_are_kept(tmp_path: Path) -> None:
    add(tmp_path, [replace(GOOD, at=float(at)) for at in range(LOOKS + 5)])
    kept = read(tmp_path, "example.org")
    assert (len(kept), kept[0].at) == (LOOKS, 5.0)


def test_there_is_one_writer_at_a_time(tmp_path: Path) -> None:
    lock = take_lock(tmp_path / LOCK_NAME, what="it")
    with pytest.raises(StoreError, match="in use"):
        add(tmp_path, [GOOD])
    os.close(lock)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda at: add(tmp_path, [replace(GOOD, at=float(at))]), range(16)))
    assert len(read(tmp_path, "example.org")) == 16
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (GOOD, []),
        (
            replace(GOOD, step="offer", problem="STARTTLS is not offered", version="", cipher="", fingerprint="", public_key=""),
            ["it stopped offering STARTTLS", "it was verified, and is not any more: STARTTLS is not offered"],
        ),
        (replace(GOOD, version="TLSv1.2"), ["the protocol was TLSv1.3, and is TLSv1.2"]),
        (replace(GOOD, fingerprint="cc"), ["the certificate is new, for the same key, and ends 2030-03-17"]),
        (replace(GOOD, fingerprint="cc", public_key="dd"), ["certificate and key are new"]),
        (replace(GOOD, dane="mismatched"), ["DANE was absent, and is mismatched"]),
    ],
)
def test_what_has_changed_is_said(now: Seen, said: list[str]) -> None:
    assert changes(GOOD, now) == said


def test_what_is_mended_is_said() -> None:
    plain = replace(GOOD, step="offer", problem="STARTTLS is not offered", version="", cipher="")
    assert changes(plain, GOOD) == ["it offers STARTTLS now", "it is verified now"]
