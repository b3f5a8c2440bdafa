"""Variables in texts of actions: `$Subject`, `$Header['X-Mailer']`, `$MatchedContent` … filled in when the action runs.

A name is known in any case, with or without underscores. What is no variable stands as it is written. What comes out of a message loses its control
characters, so that no author writes into a header or a log what is not his.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esa.policy.filters.run import Run
    from esa_core import Part

_VARIABLE = re.compile(r"\$(?:[Hh]eader\[(?:'([^']*)'|\"([^\"]*)\")\]|([A-Za-z_]+))")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
LONGEST = 2_000  # characters that one variable may become: names of all of a thousand attachments help nobody

Writer = Callable[["Run"], str]


def _names(parts: list[Part]) -> str:
    return ", ".join(part.file_name or "(unnamed)" for part in parts)


def _types(parts: list[Part]) -> str:
    return ", ".join(dict.fromkeys(part.media_type for part in parts))


def _headers(run: Run) -> str:
    return "\n".join(f"{name}: {value.decode('utf-8', 'replace')}" for name, value in run.current().parsed.headers)


def _at(layout: str, *, utc: bool = False) -> Writer:
    return lambda run: time.strftime(layout, time.gmtime(run.view.now) if utc else time.localtime(run.view.now))


def _matched(run: Run) -> str:
    return ", ".join(dict.fromkeys(text for find in run.view.matched if (text := find())))


VARIABLES: Mapping[str, Writer] = {
    "bodysize": lambda run: str(run.view.size),
    "certificatesigners": lambda run: "",
    "date": _at("%m/%d/%Y"),
    "droppedfilename": lambda run: _names(run.view.dropped[-1:]),
    "droppedfilenames": lambda run: _names(run.view.dropped),
    "droppedfiletypes": lambda run: _types(run.view.dropped),
    "enveloperecipients": lambda run: ", ".join(run.view.envelope.recipients),
    "envelopefrom": lambda run: run.view.envelope.reverse_path,
    "envelopesender": lambda run: run.view.envelope.reverse_path,
    "filenames": lambda run: _names(list(run.view.attachments)),
    "filesizes": lambda run: ", ".join(str(part.end - part.body_start) for part in run.view.attachments),
    "filetypes": lambda run: _types(list(run.view.attachments)),
    "filtername": lambda run: run.filter,
    "gmtimestamp": _at("%a, %d %b %Y %H:%M:%S +0000", utc=True),
    "group": lambda run: run.view.sender_group,
    "hostname": lambda run: run.view.hostname,
    "matchedcontent": _matched,
    "mid": lambda run: run.view.identifier,
    "policy": lambda run: run.view.mail_flow_policy or ">Unknown<",
    "recvint": lambda run: run.view.interface,
    "recvlistener": lambda run: run.view.listener,
    "remotehost": lambda run: run.view.remote_host or "unknown",
    "remoteip": lambda run: run.view.session.relayed_from or run.view.session.client_address,
    "reputation": lambda run: "None" if run.view.reputation is None else f"{run.view.reputation:.1f}",
    "subject": lambda run: run.current().parsed.subject,
    "time": _at("%H:%M:%S"),
    "timestamp": _at("%a, %d %b %Y %H:%M:%S %z"),
    "url": lambda run: next((link.url for link in run.view.parsed.links), ""),
    "threatverdict": lambda run: "",
    "threatcategory": lambda run: "",
    "threattype": lambda run: "",
    "threatdescription": lambda run: "",
    "threatlevel": lambda run: "",
}
OF_CONTENT = frozenset(  # those that the message is needed for; and $Header[...]
    {
        "allheaders",
        "bodysize",
        "certificatesigners",
        "droppedfilename",
        "droppedfilenames",
        "droppedfiletypes",
        "filenames",
        "filesizes",
        "filetypes",
        "mid",
        "subject",
        "url",
        "threatverdict",
        "threatcategory",
        "threattype",
        "threatdescription",
        "threatlevel",
    }
)
_LINES: Mapping[str, Writer] = {"allheaders": _headers}  # of several lines


def writer_of(text: str, *, has_lines: bool = False) -> Writer:
    """What fills in the variables of a text. `has_lines`: the result may have line breaks, as a body has and a header has not."""
    pieces: list[str | Writer] = []
    end = 0
    for found in _VARIABLE.finditer(text):
        header, quoted, name = found.groups()
        writer, length = _named(name) if name else (_header(header or quoted or ""), found.end() - found.start())
        if writer is None:
            continue
        pieces += (text[end : found.start()], _clean(writer, has_lines=has_lines))
        end = found.start() + length
    if not pieces:
        return lambda run: text
    pieces.append(text[end:])
    return lambda run: "".join([piece if isinstance(piece, str) else piece(run) for piece in pieces])


def reads_content(text: str) -> bool:
    """Whether a variable of a text says something of the message itself, not only of its session and envelope."""
    for found in _VARIABLE.finditer(text):
        name = found.group(3)
        if name is None:
            return True
        _, length = _named(name)
        if length and name[: length - 1].lower().replace("_", "") in OF_CONTENT:
            return True
    return False


def _named(name: str) -> tuple[Writer | None, int]:
    """The variable that a name begins with, the longest, and its length with the $: "$MIDs" is $MID and an s."""
    for length in range(len(name), 2, -1):
        key = name[:length].lower().replace("_", "")
        writer = VARIABLES.get(key) or _LINES.get(key)
        if writer is not None:
            return writer, length + 1
    return None, 0


def _header(name: str) -> Writer:
    return lambda run: next(iter(run.current().header(name.lower())), "")


def _clean(writer: Writer, *, has_lines: bool) -> Writer:
    if has_lines:
        return lambda run: _shortened("\n".join(_CONTROL.sub(" ", line) for line in writer(run).split("\n")))
    return lambda run: _shortened(_CONTROL.sub(" ", writer(run)))


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
