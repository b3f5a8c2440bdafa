"""The library's door: what is public, what importing it loads, and that it needs nothing of a gateway."""

from __future__ import annotations

import subprocess
import sys

import esa

# What no user of the library should pay for: servers, databases, web, and our own upper floors.
HEAVY = (
    "aiosmtpd",
    "asyncio",
    "uvloop",
    "pydantic",
    "tomlkit",
    "sqlalchemy",
    "sqlite3",
    "prometheus_client",
    "fastapi",
    "starlette",
    "uvicorn",
    "sklearn",
    "scipy",
    "smtplib",
    "smtpd",
    "http.server",
    "click",
    "rich",
    "zstandard",
    "esa.policy",
    "esa.config",
    "esa.store",
    "esa.gateway",
    "esa.learning",
    "esa.web",
    "esa.cli",
)


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('\\n'.join(sys.modules))"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.split())


def test_import_loads_nothing_but_the_package() -> None:
    loaded = loaded_by("import esa")
    assert {name for name in loaded if name.startswith(("esa", "numpy"))} == {"esa"}


def test_a_scan_loads_the_lower_floors_and_the_core_only() -> None:
    loaded = loaded_by("import esa; esa.scan(b'Subject: x\\r\\n\\r\\ny\\r\\n')")
    assert not [name for name in HEAVY if name in loaded]
    floors = {name.split(".")[1] for name in loaded if name.startswith("esa.")}
    assert floors == {"engine", "errors", "message"}
    assert "esa_core" in loaded


def test_every_public_name_is_there() -> None:
    for name in esa.__all__:
        assert getattr(esa, name) is not None
    assert set(esa.__all__) >= {"scan", "scan_many", "scan_async", "Scanner", "Message", "Envelope", "Session", "Report", "Verdict"}
    assert set(dir(esa)) == set(esa.__all__)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    assert not hasattr(esa, "scan_everything")


def test_ten_lines_of_the_readme_work() -> None:
    raw = b"From: a@example.org\r\nSubject: hello\r\n\r\nSee you on Monday?\r\n"
    report = esa.scan(raw)
    assert report.verdict in esa.Verdict
    assert 0 <= report.score <= 100
    assert [again.score for again in esa.scan_many([raw, raw])] == [report.score] * 2
    assert abs(sum(reason.contribution for reason in report.reasons) - report.logit) < 1e-6


async def test_scan_async_gives_what_scan_gives() -> None:
    for raw in (b"Subject: short\r\n\r\n", b"Subject: long\r\n\r\n" + b"some words and more\r\n" * 5_000):
        assert (await esa.scan_async(raw)).score == esa.scan(raw).score
