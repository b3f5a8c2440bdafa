"""Whether a certificate stands for a name (RFC 9525, which RFC 6125 became). `findings` and the looks at peers ask.

Only names of the extension subjectAltName count. The common name counts for those who ask for that by name, and only in a certificate
without DNS names: so old appliances did it, and so OpenSSL no longer does.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID

from esa.gateway.certificates.files import extension
from esa.message.a_labels import as_a_labels


@dataclass(frozen=True, slots=True)
class Names:
    """Whom a certificate stands for. DNS names in lower case, as A-labels."""

    dns: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    common: str = ""  # the common name of the subject; empty if there is none

    def __str__(self) -> str:
        return ", ".join((*self.dns, *self.addresses)) or "none"


def names_of(certificate: x509.Certificate) -> Names:
    """Names of a certificate. Those that cannot be read are left out: nothing matches them."""
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    shown = str(common[-1].value) if common else ""
    names = extension(certificate, x509.SubjectAlternativeName)
    if names is None:
        return Names(common=shown)
    dns = tuple(name.lower().rstrip(".") for name in names.get_values_for_type(x509.DNSName))
    return Names(dns, tuple(str(address) for address in names.get_values_for_type(x509.IPAddress)), shown)


def matching_name(certificate: x509.Certificate, reference: str, *, common_name: bool = False) -> str | None:
    """The name of the certificate that stands for `reference` (a host name or an address), or None.

    `common_name`: that of a certificate without DNS names counts too.
    """
    names = names_of(certificate)
    if (address := _address(reference)) is not None:
        return next((one for one in names.addresses if _address(one) == address), None)
    wanted = as_a_labels(reference)
    presented = names.dns or ((names.common.lower(),) if common_name and names.common else ())
    return next((one for one in presented if _matches(one, wanted)), None)


def _matches(presented: str, wanted: str) -> bool:
    """A wildcard is the whole first label, stands for exactly one label, and has two labels or more behind it."""
    if not presented.startswith("*."):
        return "*" not in presented and presented == wanted
    first, dot, rest = wanted.partition(".")
    return bool(first and dot) and "." in presented[2:] and "*" not in presented[2:] and presented[2:] == rest


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]").removeprefix("IPv6:"))
    except ValueError:
        return None
