"""Recipients of a file: what is known, and what happens when the file changes."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from esa.errors import ConfigurationError
from esa.gateway.directory.file import FileSource, read_known
from esa.gateway.directory.sources import Scope, Standing
from esa.policy.recipient_access import recipient_of
from tests.gateway.directory.waiting import until

TEXT = """\
# staff
anna@example.org
Bert@Example.ORG   OK
"odd one"@example.org
"carla"@example.org
jürgen@bücher.example
@example.net
.sub.example.net
"""


def known(source: FileSource, forward_path: str) -> bool:
    return source.look_up(recipient_of(forward_path)) is Standing.KNOWN


async def started(path: Path, delimiter: str = "+") -> FileSource:
    source = FileSource(Scope("staff"), path, delimiter=delimiter, look=0.02)
    await source.start()
    return source


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
async def test_addresses_domains_and_domains_below_are_known_and_nothing_else(tmp_path: Path, line_end: str) -> None:
    (tmp_path / "r.txt").write_bytes(TEXT.replace("\n", line_end).encode())
    source = await started(tmp_path / "r.txt")
    for path in (
        "ANNA@example.org",
        "bert@example.org",
        '"odd one"@example.org',
        "carla@example.org",
        "JÜRGEN@xn--bcher-kva.example",
        "whoever@example.net",
        "whoever@a.b.sub.example.net",
    ):
        assert known(source, path), path
    for path in ("ann@example.org", "anna@example.com", "OK@example.org", "whoever@sub.example.net", "whoever@a.example.net"):
        assert not known(source, path), path
    await source.close()


async def test_an_extension_is_known_where_its_address_is(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("anna@example.org\nbert+x@example.org\n+@example.org\n")
    with_extensions = await started(tmp_path / "r.txt")
    assert known(with_extensions, "anna+news+more@example.org")
    assert known(with_extensions, "bert+x@example.org")
    assert known(with_extensions, "+@example.org")
    assert not known(with_extensions, "bert+y@example.org")
    assert not known(with_extensions, "+anna@example.org")
    without = await started(tmp_path / "r.txt", "")
    assert not known(without, "anna+news@example.org")
    await with_extensions.close()
    await without.close()


async def test_another_file_is_taken_whole_and_one_with_a_mistake_is_not(tmp_path: Path) -> None:
    path = tmp_path / "r.txt"
    path.write_text("anna@example.org\n")
    source = await started(path)
    (tmp_path / "new").write_text("bert@example.org\n" * 3)
    (tmp_path / "new").replace(path)
    await until(lambda: known(source, "bert@example.org"))
    assert not known(source, "anna@example.org")
    for wrong in (b"carla@example.org\nno one here\n", b"\xff\n", b"", b"ALL\n"):
        path.write_bytes(wrong)
        await asyncio.sleep(0.1)
        assert known(source, "bert@example.org")
        assert not known(source, "carla@example.org")
    path.unlink()
    await asyncio.sleep(0.1)
    assert known(source, "bert@example.org")
    path.write_text("carla@example.org\n")
    await until(lambda: known(source, "carla@example.org"))
    await source.close()


def test_what_is_wrong_has_its_line(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("".join(f"u{number}@example.org\n" for number in range(20_000)) + "who is this?\n")
    with pytest.raises(ConfigurationError) as caught:
        read_known(tmp_path / "r.txt")
    assert caught.value.where == f"{tmp_path / 'r.txt'}, line 20001"
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_known(tmp_path / "none")


def test_many_lines_of_all_kinds_are_read_as_one_by_one(tmp_path: Path) -> None:
    chance = random.Random(3)
    kinds = [
        "u{}@example.org",
        "U{}@Example.org",
        "  v{}@example.org OK",
        "# {}",
        "",
        "d{}.example",
        '"q {}"@example.org',
        "ü{}@example.org",
    ]
    lines = [chance.choice(kinds).format(number) for number in range(50_000)]
    (tmp_path / "r.txt").write_text("\n".join(lines))
    got, _ = read_known(tmp_path / "r.txt")
    addresses = {str(recipient_of(line.strip().removesuffix(" OK"))) for line in lines if "@" in line}
    assert {octets.decode() for octets in got.addresses} == addresses
    assert got.domains == {line for line in lines if line.startswith("d")}


async def test_a_file_that_grows_while_it_is_read_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.txt"
    path.write_text("anna@example.org\n")
    times = iter(range(1, 10))
    real = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        os.utime(path, ns=(0, next(times)))  # somebody writes between the two looks
        return real(descriptor)

    monkeypatch.setattr("esa.gateway.directory.file.os.fstat", fstat)
    with pytest.raises(ConfigurationError, match="written while it was read"):
        read_known(path)
