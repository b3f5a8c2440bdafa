"""Values of options that several commands take: addresses, clients, times. Each raises click.BadParameter that says how to write it."""

from __future__ import annotations

import ipaddress
from datetime import datetime

import click

from esa.errors import SyntaxFault


def address_of(text: str, option: str, *, may_be_null: bool = False) -> str:
    """A path as addr-spec, with or without angle brackets; <> is the null reverse-path."""
    from esa.message.address import Address
    from esa.policy.recipient_access import POSTMASTER

    bare = text.strip().removeprefix("<").removesuffix(">")
    if (may_be_null and not bare) or bare.lower() == POSTMASTER:
        return bare
    try:
        return str(Address.parse(bare))
    except SyntaxFault as fault:
        raise click.BadParameter(f"{text!r} is no address ({fault.what})", param_hint=option) from None


def client_of(text: str) -> str:
    """An IP address."""
    try:
        return str(ipaddress.ip_address(text.strip("[]").removeprefix("IPv6:")))
    except ValueError:
        raise click.BadParameter(f"{text!r} is no IP address, as 192.0.2.1 or 2001:db8::1", param_hint="--client") from None


def moment_of(text: str) -> float:
    """Unix seconds of a time in ISO 8601, without a zone in that of this machine."""
    try:
        return datetime.fromisoformat(text.strip()).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(f"{text!r} is no time, as 2026-03-01T12:00", param_hint="--at") from None
