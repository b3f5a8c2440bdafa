"""A header with fields added, taken out, or changed in their value (RFC 5322 section 2.2, RFC 2047).

Called by `esa.message.edits`. A head is the octets of a header with the empty line that ends it, where there is one. Fields that are not named keep
their octets. Values are text: what is not ASCII becomes encoded words, line breaks and control characters become spaces, long lines are folded at
spaces.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from email.header import Header
from typing import Any

from esa.errors import SyntaxFault
from esa_core import parse

LINE_WIDTH = 78  # octets of a line without its end that are to be kept to, and those that must be (RFC 5322 section 2.1.1)
LINE_LIMIT = 998
_NAME = re.compile(r"[!-9;-~]{1,900}\Z")  # RFC 5322 section 3.6.8; no name is longer than a line
_END = re.compile(rb"\r?\n")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]+")
_REFERENCE = re.compile(r"\\(?:(\d)|g<(\w+)>|(.))", re.DOTALL)
_ADDRESSES = frozenset(
    {b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc", b"resent-from", b"resent-to", b"resent-cc", b"disposition-notification-to"}
)


def newline_of(octets: bytes) -> bytes:
    """The line end in use: that of the first line; CRLF where there is none."""
    found = _END.search(octets)
    return found[0] if found else b"\r\n"


def insert(head: bytes, name: str, value: str) -> bytes:
    """Add a field at the end of the header. Raises SyntaxFault for what is no name of a field."""
    fields, end = _without_end(head)
    newline = newline_of(head)
    if fields and not fields.endswith(b"\n"):
        fields += newline
    return fields + _field(checked_name(name), value, newline) + end


def strip(head: bytes, name: str) -> bytes:
    """Take out all fields of this name."""
    wanted = checked_name(name).lower()
    fields, end = _without_end(head)
    return b"".join(one for one in _fields(fields) if name_of(one) != wanted) + end


def edit(head: bytes, name: str, expression: str, replacement: str) -> bytes:
    """Replace each match in values of fields of this name; fields without a match keep their octets. Raises SyntaxFault."""
    wanted = checked_name(name).lower()
    change = substitution(expression, replacement)
    fields, end = _without_end(head)
    newline = newline_of(head)
    made = []
    for one in _fields(fields):
        if name_of(one) == wanted:
            value = value_of(one)
            changed = change(value)
            if changed != value:
                one = _field(one.partition(b":")[0].rstrip(), changed, newline)
        made.append(one)
    return b"".join(made) + end


def tag_subject(head: bytes, text: str) -> bytes:
    """Put text and a space before the value of the first Subject, whose own octets stay; without a Subject, one is added."""
    shown = _one_line(text).strip()
    fields, end = _without_end(head)
    made = list(_fields(fields))
    number = next((number for number, one in enumerate(made) if name_of(one) == b"subject"), None)
    if not shown:
        return head
    if number is None:
        return insert(head, "Subject", shown)
    name, _, rest = made[number].partition(b":")
    rest = rest.lstrip(b" \t")
    if not shown.isascii():
        # white space between two encoded words is none: the first one carries it
        tag = Header(f"{shown} " if rest.lstrip().startswith(b"=?") else shown, "utf-8").encode(linesep="\n").encode("ascii")
    else:
        tag = shown.encode("ascii")
    newline = newline_of(head)
    line = b"%s: %s" % (name.rstrip(), tag.replace(b"\n", newline))
    first = len(_END.split(rest, maxsplit=1)[0])
    if rest[:1] in (b"\r", b"\n", b""):
        made[number] = line + (rest or newline)
    else:
        is_long = len(line) - line.rfind(b"\n") + first > LINE_LIMIT
        made[number] = line + (newline if is_long else b"") + b" " + rest
    return b"".join(made) + end


def set_field(head: bytes, name: str, value: str) -> bytes:
    """One field of this name with this value, ASCII, in the place of the first there is; all others of the name go."""
    wanted, newline = name.lower().encode("ascii"), newline_of(head)
    fields, end = _without_end(head)
    made: list[bytes] = []
    is_there = False
    for one in _fields(fields):
        if name_of(one) != wanted:
            made.append(one)
        elif not is_there:
            made.append(_field(name.encode("ascii"), value, newline))
            is_there = True
    if is_there:
        return b"".join(made) + end
    return insert(head, name, value)


def take_content_fields(head: bytes) -> tuple[bytes, bytes]:
    """The header without its Content-* fields, and these."""
    fields, end = _without_end(head)
    content = [one for one in _fields(fields) if name_of(one).startswith(b"content-")]
    others = [one for one in _fields(fields) if not name_of(one).startswith(b"content-")]
    return b"".join(others) + end, b"".join(content)


def first_value(head: bytes, name: str) -> str:
    """The decoded value of the first field of this name on one line; empty where there is none."""
    wanted = name.lower().encode("ascii")
    return next((value_of(one) for one in _fields(_without_end(head)[0]) if name_of(one) == wanted), "")


def joined(head: bytes, body: bytes) -> bytes:
    """Header and body; a header that was made where there was none is ended, so that the body stays one."""
    if head and body and not head.endswith(b"\n"):
        head += newline_of(head)
    return head + body


# --- fields


def checked_name(name: str) -> bytes:
    if not _NAME.match(name):
        raise SyntaxFault(f"{name!r} is no name of a header field", mend="write letters, digits and -")
    return name.encode("ascii")


def _without_end(head: bytes) -> tuple[bytes, bytes]:
    """The fields, and the empty line that ends them, if it is there."""
    for end in (b"\r\n", b"\n"):
        if head == end or (head.endswith(b"\n" + end)):
            return head[: len(head) - len(end)], end
    return head, b"" if head else b"\r\n"


def _fields(fields: bytes) -> Iterator[bytes]:
    """Fields with their continuation lines and line ends; lines that are no fields are told as they stand."""
    start = at = 0
    while at < len(fields):
        end = fields.find(b"\n", at)
        at = len(fields) if end < 0 else end + 1
        if at == len(fields) or fields[at] not in b" \t":
            yield fields[start:at]
            start = at


def name_of(field: bytes) -> bytes:
    """In lower case; empty for a line that is no field."""
    name, colon, _ = field.partition(b":")
    return name.rstrip(b" \t").lower() if colon else b""


def value_of(field: bytes) -> str:
    """Unfolded and decoded."""
    name = name_of(field).decode("ascii", "replace")
    rest = field.partition(b":")[2]
    found = parse(b"X-Value:" + rest.rstrip(b"\r\n") + b"\r\n\r\n").header("X-Value") if name else []
    return found[0].strip() if found else ""


def _one_line(text: str) -> str:
    return _CONTROLS.sub(" ", text)


def _field(name: bytes, value: str, newline: bytes) -> bytes:
    """The octets of a field, folded, with its line end."""
    words = _encoded(_one_line(value).strip(), name.lower())
    lines = [name.decode("ascii", "replace") + ":"]
    for word in words:
        while word:
            room = LINE_WIDTH - len(lines[-1])
            if len(word) >= room and not lines[-1].endswith(":") and lines[-1].strip():
                lines.append("")
            piece, word = word[: LINE_LIMIT - LINE_WIDTH], word[LINE_LIMIT - LINE_WIDTH :]
            lines[-1] += f" {piece}"
    return newline.join(line.encode("ascii", "replace") for line in lines) + newline


def _encoded(value: str, name: bytes) -> list[str]:
    """Words of a value, those that are not ASCII as encoded words, with the spaces between them inside."""
    words = value.split(" ")
    if value.isascii() and "=?" not in value:
        return _with_spaces(words)
    made: list[str] = []
    run: list[str] = []
    for word in [*words, None]:
        if word is not None and (not word.isascii() or word.startswith("=?") or (run and not word)):
            run.append(word)
            continue
        if run:
            text = " ".join(run)
            if name in _ADDRESSES and len(text) > 1 and text[0] == text[-1] == '"':
                text = text[1:-1]
            made += Header(text, "utf-8", maxlinelen=LINE_WIDTH - 2, header_name="X").encode(linesep="\n").replace("\n", "").split()
            run = []
        if word is not None:
            made.append(word)
    return _with_spaces(made)


def _with_spaces(words: list[str]) -> list[str]:
    """Without empty words: several spaces become part of the word before, so that none is lost."""
    made: list[str] = []
    for word in words:
        if word or not made:
            made.append(word)
        else:
            made[-1] += " "
    return [word for word in made if word]


# --- replacing


@functools.lru_cache(maxsize=256)
def _compiled(expression: str) -> Any:
    import re2  # late: only who has expressions loads it

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except Exception as error:  # re2.error
        raise SyntaxFault("this regular expression cannot be used", where=expression, mend="its syntax is RE2's") from error


def substitution(expression: str, replacement: str) -> Callable[[str], str]:
    """A function that replaces each match; `\\1` to `\\9`, `\\0` and `\\g<name>` in the replacement stand for groups. Raises SyntaxFault."""
    compiled = _compiled(expression)
    is_constant = _REFERENCE.search(replacement) is None
    constant = replacement.encode("utf-8", "replace")

    def expand(match: Any) -> bytes:
        def group(reference: re.Match[str]) -> str:
            number, name, other = reference.groups()
            if other is not None:
                return other
            try:
                return (match.group(int(number) if number is not None else name) or b"").decode("utf-8", "replace")
            except (IndexError, KeyError):  # there is no such group
                return ""

        return _REFERENCE.sub(group, replacement).encode("utf-8", "replace")

    def change(text: str) -> str:
        octets = text.encode("utf-8", "replace")  # RE2 works on octets; on texts its wrapper counts characters for each match
        pieces: list[bytes] = []
        end = 0
        for match in compiled.finditer(octets):
            first, behind = match.span()
            pieces += (octets[end:first], constant if is_constant else expand(match))
            end = behind
        return b"".join([*pieces, octets[end:]]).decode("utf-8", "replace") if pieces else text

    return change
