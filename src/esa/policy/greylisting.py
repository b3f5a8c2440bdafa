"""Greylisting, as far as it is a matter of words: what makes a triplet, whose author is aligned with its client, and what looks like a login code.

`gateway.greylisting` asks it. Pure.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence

from esa.policy.senders import IpAddress, network_of
from esa_core._domain import registrable_domain

CLIENT_BITS = {4: 24, 6: 32}  # significant bits of the client's network as `network_of` counts them: an IPv4 /24, an IPv6 /64
LOOKED_AT = 4_000  # characters of a text; a message that brings a code is short
SUBJECT_LOOKED_AT = 300
NEAR = 160  # characters between the code and the word that says what it is
_DIGITS = re.compile(r"\d+")
_CODE = re.compile(
    r"(?<![\w.,:/#&=-])(?:\d{4,8}|\d{3}[ -]\d{3}|\d{2}-\d{2}-\d{2}|[A-Z]-\d{4,8}|(?=[A-Z]*\d)[A-Z0-9]{6,8})(?![\w/=%-]|[.,:]\d)"
)
_WORDS = (  # what such a code is called, folded
    r"\bcode\b|passcode|\botp\b|\bpin\b|\bm?tan\b|\b2fa\b|\bmfa\b|one[- ]time|verif(?:y|ication)|authenticat|sign[- ]?in|log[- ]?in|"
    r"confirm(?:ation)? (?:code|number)|security code|access code|einmal|best\u00e4tigungs|anmelde|sicherheitscode|verifizierung|v\u00e9rification|"
    r"connexion|usage unique|c\u00f3digo|verificaci\u00f3n|verifica\u00e7\u00e3o|codice|verifica\b|verificatie|inlog|kod weryfik|jednoraz|do\u011frulama|"
    r"\u043a\u043e\u0434\b|\u043f\u0430\u0440\u043e\u043b|\u9a8c\u8bc1\u7801|\u9a57\u8b49\u78bc|\u8a8d\u8a3c\u30b3\u30fc\u30c9|\u78ba\u8a8d\u30b3\u30fc\u30c9|\uc778\uc99d"
)
_WORD = re.compile(_WORDS)
_LINKED = re.compile(  # subjects of mail that brings a link in place of a code
    r"(?:reset|change|forgot|recover)[\w' ]{0,20}password|password[\w' ]{0,20}(?:reset|recovery)|"
    r"(?:confirm|verify|activate)[\w' ]{0,20}(?:e-?mail|address|account|registration)|magic link|sign[- ]?in link|log[- ]?in link|"
    r"passwort[\w ]{0,20}zur\u00fccksetz|e-mail-adresse best\u00e4tig|r\u00e9initialis\w+[\w ]{0,20}mot de passe|restablec\w+[\w ]{0,20}contrase\u00f1a"
)


def client_network(address: IpAddress) -> str:
    """What counts as one client: mail servers that share a queue share a network (IPv4 /24, IPv6 /64)."""
    return network_of(address, CLIENT_BITS[address.version])


def triplet_path(path: str) -> str:
    """A reverse-path as a triplet has it: lower case; numbers in the local part are one, and what follows a plus is none.

    Lists write a new number into each reverse-path (VERP), which would wait anew for each message.
    """
    local_part, _, domain = path.lower().rpartition("@")
    return f"{_DIGITS.sub('#', local_part.partition('+')[0])}@{domain}"


def aligned_domain(author: str, names: Sequence[str]) -> str:
    """The registered domain of the author, if a confirmed name of the client lies in it too; else empty."""
    domain = registrable_domain(author.rpartition("@")[2].lower())
    return domain if domain and any(registrable_domain(name) == domain for name in names) else ""


def looks_like_login_code(subject: str, text: str) -> bool:
    """Whether somebody may be waiting for this message before a screen: a code that is called one, or a link to log in or to confirm."""
    subject = subject[:SUBJECT_LOOKED_AT]
    folded = subject.casefold()
    if _LINKED.search(folded):
        return True
    shown = f"{subject}\n{text[:LOOKED_AT]}"
    lowered = shown.lower()
    if len(lowered) != len(shown):  # lower case that is longer: places would not fit
        lowered = "".join(one.lower() if len(one.lower()) == 1 else one for one in shown)
    words = [word.start() for word in _WORD.finditer(lowered)]
    if not words:
        return False
    if words[0] < len(subject):  # the subject names it: then any code will do
        return _CODE.search(shown) is not None
    for code in _CODE.finditer(shown):
        behind = bisect_left(words, code.start() - NEAR)
        if behind < len(words) and words[behind] <= code.end() + NEAR:
            return True
    return False
