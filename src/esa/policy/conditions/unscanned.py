"""Conditions whose fact is not found out yet, and those that need a product that is not here. The first parse, and are unscanned wherever they stand:
their filter does not fire. The second are refused with the reason."""

from __future__ import annotations

from esa.policy.filters.words import MATCHES, Condition, Kind, Signature

_BARE = Signature(is_bare=True)
_NAME = Signature(operators=MATCHES, value=Kind.TEXT)
_AUTHENTICATION, _CRYPTOGRAPHY = "checks of SPF and DKIM", "reading of S/MIME and PGP"
_URLS, _FILES = "checks of URLs", "the inner types of files"

conditions = (
    Condition(
        "spf-status",
        Signature((Kind.TEXT,), 0, MATCHES, Kind.TEXT),
        'The result of SPF is one of a list as "Pass, Neutral", of the identity "pra", "mailfrom" or "helo" if one is named.',
        waits_for=_AUTHENTICATION,
    ),
    Condition("spf-passed", _BARE, "SPF passed.", waits_for=_AUTHENTICATION),
    Condition("dkim-authentication", _NAME, 'The result of DKIM, as "pass" or "hardfail".', waits_for=_AUTHENTICATION),
    Condition(
        "url-reputation",
        Signature((Kind.NUMBER, Kind.NUMBER, Kind.TEXT, Kind.NUMBER, Kind.NUMBER), 2, is_bare=True),
        "The score of a URL is within bounds.",
        waits_for=_URLS,
    ),
    Condition(
        "url-no-reputation", Signature((Kind.TEXT, Kind.NUMBER, Kind.NUMBER), 0, is_bare=True), "A URL has no score.", waits_for=_URLS
    ),
    Condition(
        "url-category",
        Signature((Kind.TEXTS, Kind.TEXT, Kind.NUMBER, Kind.NUMBER), 1, is_bare=True),
        "A URL is of one of these categories.",
        waits_for=_URLS,
    ),
    Condition("encrypted", _BARE, "The message is encrypted by S/MIME or PGP.", waits_for=_CRYPTOGRAPHY),
    Condition("signed", _BARE, "The message is signed by S/MIME or PGP.", waits_for=_CRYPTOGRAPHY),
    Condition(
        "signed-certificate",
        Signature((Kind.TEXT,), 1, MATCHES, Kind.EXPRESSION, is_bare=True),
        'The "issuer" or "signer" of the certificate that signed the message matches.',
        waits_for=_CRYPTOGRAPHY,
    ),
    Condition("smime-gateway-message", _BARE, "The message was signed or encrypted by a gateway.", waits_for=_CRYPTOGRAPHY),
    Condition("smime-gateway-verified", _BARE, "A gateway's signature was verified, or its message decrypted.", waits_for=_CRYPTOGRAPHY),
    Condition(
        "attachment-filetype", _NAME, 'The content of an attachment is of this type, as "exe", or group, as "Executable".', waits_for=_FILES
    ),
    Condition("attachment-protected", _BARE, "An attachment is protected by a password.", waits_for=_FILES),
    Condition("attachment-unprotected", _BARE, "An attachment is not protected by a password.", waits_for=_FILES),
    Condition("attachment-corrupt", _BARE, "An attachment cannot be read as what it is.", waits_for=_FILES),
    Condition(
        "header-repeats",
        Signature((Kind.TEXT, Kind.NUMBER, Kind.TEXT), 2, is_bare=True),
        "The same Subject or sender came so often in the last hour.",
        waits_for="counting of subjects and senders",
    ),
    Condition(
        "image-verdict",
        Signature(operators=MATCHES, value=Kind.TEXT),
        "What is thought of pictures.",
        refused="it needs the picture analysis of another product, and nothing here judges pictures; remove the test",
    ),
)
