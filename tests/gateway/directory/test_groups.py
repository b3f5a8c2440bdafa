"""Who is in which group: kept answers, what is asked at one time, and outages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from esa.config.load import check
from esa.gateway.directory.build import make_groups
from esa.gateway.directory.groups import Groups
from tests.gateway.directory.slapd import BASE, Slapd, slapd_running

PEOPLE = f"""
dn: uid=amy,ou=people,{BASE}
objectClass: inetOrgPerson
uid: amy
cn: amy
sn: amy
mail: amy@example.com
departmentNumber: engineers
departmentNumber: all (staff)*

dn: uid=ben,ou=people,{BASE}
objectClass: inetOrgPerson
uid: ben
cn: ben
sn: ben
mail: ben@example.com
departmentNumber: all (staff)*
"""
TABLE = '[[group_ldap]]\nservers = ["{url}"]\ntls = "off"\nbase = "{base}"\nfilter = "(&(mail={{a}})(departmentNumber={{g}}))"\ntimeout = "1 s"\n'


def groups(url: str, *names: str, more: str = "") -> Groups:
    configuration, faults = check(TABLE.format(url=url, base=BASE) + more)
    assert configuration is not None, faults
    made = make_groups(configuration, names)
    assert made is not None
    return made


@pytest.fixture
async def slapd(server_program: Callable[[str], str], tmp_path: Path) -> AsyncIterator[Slapd]:
    with slapd_running(server_program("slapd"), tmp_path / "slapd", ["carl"], more=PEOPLE) as server:
        yield server


@pytest.mark.servers
async def test_each_address_has_the_groups_that_were_asked_about(slapd: Slapd) -> None:
    asked = groups(slapd.url, "engineers", "all (staff)*", "nobody")
    found = await asked.find(["Amy@example.com", "ben@example.com", "carl@example.org", ""])
    assert found.groups == {
        "amy@example.com": frozenset({"engineers", "all (staff)*"}),
        "ben@example.com": frozenset({"all (staff)*"}),
    }
    assert not found.is_unsure
    slapd.process.terminate()
    slapd.process.wait()
    assert await asked.find(["amy@example.com"]) == ({"amy@example.com": frozenset({"engineers", "all (staff)*"})}, False)  # kept
    await asked.close()


@pytest.mark.parametrize(("outage", "is_unsure"), [("defer", True), ("none", False), ("stale", True)])
async def test_a_directory_that_cannot_be_asked_puts_mail_off_or_knows_nobody(outage: str, is_unsure: bool) -> None:
    asked = groups("ldap://127.0.0.1:1", "engineers", more=f'outage = "{outage}"\n')
    found = await asked.find(["amy@example.com"])
    assert (found.groups, found.is_unsure) == ({}, is_unsure)
    await asked.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[mail_policy]]\nname = "x"\nrecipients = ["ldap:staff"]\n', "no directory knows a group 'staff'"),
        ('[[group_ldap]]\nfilter = "(mail={a})"\n', "does not ask for a group"),
        ("[[group_ldap]]\n[[group_ldap]]\n", "two directories of groups"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, said: str) -> None:
    configuration, faults = check(text)
    assert configuration is None
    assert said in str(faults[0])
