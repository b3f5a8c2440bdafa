"""Cipher policies of TLS: named profiles, and what is wrong with one's own in OpenSSL's words. `schema` and `esa bench tls` call it.

A policy is a profile's name or an OpenSSL cipher string. It governs TLS 1.2; the suites of TLS 1.3 are all sound and cannot be chosen
(OpenSSL's interface for them is not open to Python). What is refused would be broken by anyone who listens; what is weak is taken and said.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

Version = Literal["TLSv1.2", "TLSv1.3"]


class Profile(NamedTuple):
    minimum: Version
    ciphers: str  # of TLS 1.2, in OpenSSL's words
    sentence: str


_AUTHENTICATED: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
PROFILES: Final = MappingProxyType(
    {
        "modern": Profile("TLSv1.3", _AUTHENTICATED, "TLS 1.3 only; loses servers older than about 2018"),
        "intermediate": Profile("TLSv1.2", _AUTHENTICATED, "TLS 1.2 and 1.3 with forward secrecy and authenticated encryption"),
        "compatible": Profile(
            "TLSv1.2",
            f"{_AUTHENTICATED}:DHE+AESGCM:DHE+CHACHA20:ECDHE+AES:RSA+AESGCM:RSA+AES:!aNULL:!eNULL:!PSK:!SRP:!CAMELLIA:!ARIA",
            "TLS 1.2 and 1.3, and for old peers CBC and key exchange without forward secrecy: weak, but better than clear text",
        ),
    }
)
DEFAULT: Final = "intermediate"

_REFUSED: Final = (
    (r"ALL|COMPLEMENTOFALL", "takes whatever the library has, ciphers without authentication among them; name what you want, as HIGH"),
    (r"RC4", "RC4 gives its plain text away (RFC 7465 forbids it)"),
    (r"SSLv2|SSLv3", "SSLv2 and SSLv3 are broken by anyone who listens (RFC 6176, RFC 7568)"),
    (r"TLSv1(?:\.[01])?", "TLS 1.0 and 1.1 are abandoned (RFC 8996)"),
    (r"3DES|DES-CBC3|DES|DES-CBC", "DES and 3DES have blocks of 64 bits: some hours of traffic give plain text away (Sweet32)"),
    (r"IDEA|RC2|SEED", "an old cipher that nobody has looked at for years"),
    (r"aNULL|ADH|AECDH|COMPLEMENTOFDEFAULT", "the server is not authenticated: anyone in between can pretend to be it"),
    (r"eNULL|NULL", "nothing is encrypted"),
    (r"EXP(?:ORT)?(?:40|56|1024)?|LOW", "keys so short that they are found in hours"),
    (r"MD5", "MD5 no longer protects what it signs"),
)
_MODIFIER = re.compile(r"@(?:STRENGTH|SECLEVEL=\d)\Z")
_SPLIT = re.compile(r"[:, ]+")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with a cipher policy, at one of its words."""

    word: str
    reason: str
    refused: bool  # False: it is taken, and weak

    def __str__(self) -> str:
        return f"{self.word}: {self.reason}"


def profile_of(policy: str, minimum: Version = "TLSv1.2") -> Profile:
    """The profile that a policy means: one by its name, or a string of one's own with the oldest version given."""
    return PROFILES.get(policy) or Profile(minimum, policy, "")


@lru_cache(maxsize=64)
def lint(policy: str) -> tuple[Finding, ...]:
    """What is wrong with a policy; refused words first. None for a profile but `compatible`, which is weak by intent and not reported."""
    if policy in PROFILES:
        return ()
    refused = list(_refused_words(policy))
    if refused:
        return tuple(refused)
    try:
        chosen = ciphers_of(policy)
    except ssl.SSLError:
        return (Finding(policy or '""', f"OpenSSL knows no cipher by that; choose a profile: {', '.join(PROFILES)}", True),)
    return tuple(_weak(chosen))


def _refused_words(policy: str) -> Iterator[Finding]:
    for word in _SPLIT.split(policy):
        if not word or word[0] in "!-" or _MODIFIER.match(word):
            continue
        parts = re.split(r"\+", word.lstrip("+"))
        for part in parts:
            reason = _reason(part)
            if reason:
                yield Finding(word, reason, True)
                break


def _reason(word: str) -> str:
    """Why an alias or the name of one cipher is refused; empty if it is not."""
    for pattern, reason in _REFUSED:
        if re.fullmatch(pattern, word, re.IGNORECASE):
            return reason
    if "-" in word:  # the name of a cipher
        for pattern, reason in _REFUSED[1:]:
            if re.search(rf"(?:^|-)(?:{pattern})(?:-|$)", word):
                return reason
    return ""


def ciphers_of(policy: str) -> list[str]:
    """Names of the TLS 1.2 ciphers that a policy comes to with this machine's OpenSSL, the preferred first. Raises ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(profile_of(policy).ciphers)
    return [str(cipher["name"]) for cipher in context.get_ciphers() if cipher["protocol"] != "TLSv1.3"]


def _weak(names: list[str]) -> Iterator[Finding]:
    for name in names:
        if reason := _reason(name):
            yield Finding(name, reason, True)
    plain = [name for name in names if not name.startswith(("ECDHE-", "DHE-"))]
    if plain:
        yield Finding(plain[0], f"no forward secrecy: who learns the key reads all recorded mail ({_count(plain)})", False)
    chained = [name for name in names if not re.search("GCM|CHACHA20|CCM", name)]
    if chained:
        yield Finding(chained[0], f"CBC without authenticated encryption ({_count(chained)})", False)


def _count(names: list[str]) -> str:
    return "1 cipher" if len(names) == 1 else f"{len(names)} ciphers"
