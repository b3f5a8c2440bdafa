"""The listener's own replies, built once: what `protocol` says where the receiver does not decide."""

from __future__ import annotations

from collections.abc import Sequence

from esa.message.reply import Reply
from esa_core._smtp import FAULTS


def encode(lines: Reply | Sequence[Reply]) -> tuple[int, bytes]:
    """The code and the octets of a reply, or of the lines of a multi-line one (RFC 5321 section 4.2.1): all must have the first's code.

    Raises ValueError for no lines or lines of several codes.
    """
    if isinstance(lines, Reply):
        return lines.code, lines.to_bytes()
    if not lines or any(line.code != lines[0].code for line in lines):
        raise ValueError("the lines of a reply must have one code")
    octets = [line.to_bytes() for line in lines]
    return lines[0].code, b"".join(line[:3] + b"-" + line[4:] for line in octets[:-1]) + octets[-1]


def _octets(code: int, enhanced: str | None, text: str) -> bytes:
    return Reply(code, enhanced, text).to_bytes()


MAIL_ACCEPTED = _octets(250, "2.1.0", "Originator ok")
RECIPIENT_ACCEPTED = _octets(250, "2.1.5", "Recipient ok")
CHUNK_TAKEN = _octets(250, "2.0.0", "Chunk taken")
TLS_READY = _octets(220, "2.0.0", "Ready to start TLS")
NEEDS_TLS = _octets(530, "5.7.0", "Must issue a STARTTLS command first")
AUTHENTICATED = _octets(235, "2.7.0", "Authentication succeeded")
AUTHENTICATION_CANCELLED = _octets(501, "5.7.0", "Authentication cancelled")
AUTHENTICATION_MALFORMED = _octets(501, "5.5.2", "Malformed authentication")
NO_SUCH_MECHANISM = _octets(504, "5.5.4", "Authentication mechanism not known")
NEEDS_TLS_FOR_AUTH = _octets(538, "5.7.11", "Encryption required for authentication")
NEEDS_AUTH = _octets(530, "5.7.0", "Authentication required")
AUTHENTICATION_FAILED = Reply(535, "5.7.8", "Authentication credentials invalid")
AUTHENTICATION_IMPOSSIBLE = Reply(454, "4.7.0", "Temporary authentication failure")  # RFC 4954 section 6
AUTHENTICATION_TOO_OFTEN = Reply(454, "4.7.0", "Too many failures, try again later")
BAD_XCLIENT = _octets(501, "5.5.4", "Syntax: XCLIENT attribute=value ...")
GO_AHEAD = _octets(354, None, "End data with <CR><LF>.<CR><LF>")
RESET_DONE = _octets(250, "2.0.0", "Reset")
NOOP_DONE = _octets(250, "2.0.0", "Ok")
NOT_VERIFIED = _octets(252, "2.0.0", "Cannot verify, but will take mail for delivery")
NOT_EXPANDED = _octets(502, "5.5.1", "Lists are not expanded here")
HELP_TEXT = _octets(214, "2.0.0", "Commands: HELO EHLO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT STARTTLS AUTH (RFC 5321)")
GOODBYE = _octets(221, "2.0.0", "Bye")

BAD_REVERSE_PATH = _octets(501, "5.1.7", "Bad reverse-path syntax")
BAD_FORWARD_PATH = _octets(501, "5.1.3", "Bad forward-path syntax")
NEEDS_SMTPUTF8 = _octets(553, "5.6.7", "A non-ASCII address needs SMTPUTF8")
TOO_MANY_RECIPIENTS = _octets(452, "4.5.3", "Too many recipients")
NO_VALID_RECIPIENTS = _octets(554, "5.5.1", "No valid recipients")
TOO_LARGE = _octets(552, "5.3.4", "Message too large")
NO_MEMORY = _octets(452, "4.3.1", "Too much mail at once, try again later")
NO_SPILL = _octets(452, "4.3.1", "Out of space, try again later")
BARE_OCTETS = _octets(550, "5.6.11", "Bare CR or LF, or NUL, in mail data")
LOCAL_ERROR = Reply(451, "4.3.0", "Local error in processing, try again later")

TOO_MANY_CONNECTIONS = _octets(421, "4.3.2", "Too many connections, try again later")
TOO_MANY_TRANSACTIONS = _octets(421, "4.7.0", "Too many messages in one session, connect again")
TOO_MANY_ERRORS = _octets(421, "4.7.0", "Too many errors")
TIMED_OUT = _octets(421, "4.4.2", "Timed out")
SHUTTING_DOWN = _octets(421, "4.3.2", "Service is going down, try again later")

_FAULT_REPLIES: dict[str, tuple[bytes, bool]] = {  # and whether the session ends
    "NONE": (b"", False),
    "NEED_HELLO": (_octets(503, "5.5.1", "Say EHLO first"), False),
    "NEED_MAIL": (_octets(503, "5.5.1", "Need MAIL first"), False),
    "NEED_RECIPIENT": (_octets(503, "5.5.1", "Need RCPT first"), False),
    "NESTED": (_octets(503, "5.5.1", "A transaction is already open"), False),
    "UNKNOWN": (_octets(500, "5.5.1", "Command not recognized"), False),
    "NOT_IMPLEMENTED": (_octets(502, "5.5.1", "Command not implemented"), False),
    "LINE_TOO_LONG": (_octets(500, "5.5.2", "Line too long"), False),
    "BAD_OCTETS": (_octets(500, "5.5.2", "Control characters in a command"), False),
    "BARE_LINE_FEED": (_octets(550, "5.5.2", "Bare LF in a command"), True),
    "NEED_ARGUMENT": (_octets(501, "5.5.4", "Argument missing"), False),
    "NO_ARGUMENT": (_octets(501, "5.5.4", "No argument allowed"), False),
    "BAD_HELLO": (_octets(501, "5.5.4", "Bad domain or address literal"), False),
    "MAIL_SYNTAX": (_octets(501, "5.5.2", "Syntax: MAIL FROM:<reverse-path> [parameters]"), False),
    "RECIPIENT_SYNTAX": (_octets(501, "5.5.2", "Syntax: RCPT TO:<forward-path>"), False),
    "BAD_PARAMETER": (_octets(501, "5.5.4", "Bad or repeated parameter"), False),
    "UNKNOWN_PARAMETER": (_octets(555, "5.5.4", "Parameter not recognized"), False),
    "TOO_LARGE": (TOO_LARGE, False),
    "FOREIGN": (_octets(554, "5.5.1", "This is SMTP"), True),
    "CHUNK": (_octets(501, "5.5.4", "Syntax: BDAT octets [LAST]"), True),
    "ENDLESS": (_octets(421, "4.7.0", "Too much mail data"), True),
    "CHUNKED": (_octets(503, "5.5.1", "The message comes by BDAT"), False),
    "NEED_CHUNKS": (_octets(503, "5.5.1", "BINARYMIME needs BDAT"), False),
    "ALREADY": (_octets(503, "5.5.1", "Already done"), False),
}
FAULT_REPLIES = tuple(_FAULT_REPLIES[name] for name in FAULTS)
