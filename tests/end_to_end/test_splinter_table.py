"""docs/examples/splinter-table.toml through a real gateway and a real directory: who gets which policy, and one scan for all."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from esa.gateway.metrics import Counter, Counters
from tests.end_to_end.running import Gateway, running
from tests.gateway.directory.slapd import BASE, slapd_running

pytestmark = pytest.mark.servers
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "splinter-table.toml"
MAIL = b"From: somebody\r\nSubject: hello\r\n\r\nhello\r\n"
ENGINEER = f"""
dn: uid=amy,ou=people,{BASE}
objectClass: inetOrgPerson
uid: amy
cn: amy
sn: amy
mail: amy@example.com
departmentNumber: engineers
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, server_program: Callable[[str], str]) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("table")
    with slapd_running(server_program("slapd"), folder / "slapd", ["bill"], more=ENGINEER) as slapd:
        more = EXAMPLE.read_text().replace("ldap://ldap.example.com", slapd.url).replace('base = "', 'tls = "off"\nbase = "')
        yield from running(folder, workers=1, more=more + "[scan]\nanti_spam = false\n")


def policies(gateway: Gateway, sender: str, *recipients: str) -> dict[str, str]:
    """The policy of each recipient, as its mail tells."""
    for path in gateway.maildir():
        path.unlink()
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30) as client:
        client.sendmail(sender, recipients, MAIL)
    found: dict[str, str] = {}
    while len(found) < len(recipients):
        for path in gateway.maildir():
            content = path.read_bytes()
            [policy] = re.findall(rb"^X-Mail-Policy: (\S+)", content, re.MULTILINE)
            found |= {to.decode(): policy.decode() for to in re.findall(rb"^Delivered-To: (\S+)", content, re.MULTILINE)}
    return found


def scanned(gateway: Gateway) -> int:
    return int(Counters(gateway.state / "run" / "counters").row(2).values[Counter.SCANNED])


def test_example_1_the_sender_stands_before_the_recipient(gateway: Gateway) -> None:
    assert policies(gateway, "bill@lawfirm.com", "jim@example.com") == {"jim@example.com": "from_lawyers"}


def test_example_2_three_splinters_of_one_scan(gateway: Gateway) -> None:
    before = scanned(gateway)
    assert policies(gateway, "joe@yahoo.com", "john@example.com", "jane@newdomain.com", "bill@example.com") == {
        "john@example.com": "sales_team",
        "jane@newdomain.com": "acquired_domains",
        "bill@example.com": "DEFAULT",
    }
    assert len(gateway.maildir()) == 3
    assert scanned(gateway) == before + 1


def test_example_3_the_sender_binds_the_recipients_that_are_left(gateway: Gateway) -> None:
    assert policies(gateway, "bill@lawfirm.com", "ann@example.com", "larry@example.com") == {
        "ann@example.com": "special_people",
        "larry@example.com": "from_lawyers",
    }


def test_who_is_in_the_group_has_its_policy(gateway: Gateway) -> None:
    assert policies(gateway, "joe@yahoo.com", "amy@example.com", "carl@example.com") == {
        "amy@example.com": "engineering",
        "carl@example.com": "DEFAULT",
    }
