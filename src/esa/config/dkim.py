"""The tables of keys that sign mail that leaves with DKIM. `schema` puts them into the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from esa.config.values import DAY, Domain, Duration, Table, fault
from esa.errors import SyntaxFault
from esa.message.address import parse_domain


def _selector(value: str) -> str:
    try:
        return parse_domain(value)
    except SyntaxFault as error:
        raise fault(f"{value!r} is no selector", "write a name as in DNS: letters, digits and hyphens, such as 2026a") from error


class DkimKey(Table):
    """A key that signs outgoing mail of authors of a domain. Several for one domain sign each: RSA for everybody, Ed25519 beside it."""

    domain: Domain = Field(
        default="example.org", description="Domain of the author (From). Its DNS publishes the key, as esa dkim record prints."
    )
    selector: Annotated[str, AfterValidator(_selector)] = Field(
        default="2026a", description="Name of the key in that DNS: selector._domainkey.domain."
    )
    key: str = Field(
        default="dkim.pem", min_length=1, description="File of the private key in PEM, readable by this user only. Relative to this file."
    )
    sub_domains: bool = Field(
        default=False, description="Whether it signs for authors in domains below it too, that have no key of their own."
    )
    lifetime: Duration = Field(
        default=0.0, ge=0, le=365 * DAY, description="Time after which the signature says that it is void. 0 s: never."
    )


def contradictions_of_dkim(keys: Sequence[DkimKey]) -> Iterator[tuple[tuple[int, str], str, str]]:
    """(place, what, mend) of keys that cannot stand together."""
    seen: set[tuple[str, str]] = set()
    for number, key in enumerate(keys):
        name = (key.domain, key.selector)
        if name in seen:
            what = f"two keys are published as {key.selector}._domainkey.{key.domain}"
            yield (number, "selector"), what, "give each a selector of its own"
        seen.add(name)
