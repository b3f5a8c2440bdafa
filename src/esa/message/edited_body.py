"""A body with text added, replaced, made plain, or parts taken out (RFC 2045, 2046).

Called by `esa.message.edits`. What a reader sees as the message's own text is changed where it stands, in its character set and transfer encoding if
these can hold it; only parts that change are encoded anew. Text is not added inside of what is signed or encrypted, which would break it: such a
message becomes a part beside the text (multipart/mixed), and its signature holds.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import hashlib
import html
import re
from collections.abc import Callable, Collection, Iterator, Sequence

from esa.message.edited_header import LINE_LIMIT, first_value, joined, newline_of, set_field, substitution, take_content_fields
from esa_core import Part, parse

_SEALED = frozenset({"multipart/signed", "multipart/encrypted"})
_SEALED_WHOLE = re.compile(r"application/(?:x-)?pkcs7-mime|application/pgp")
_CHARSET = re.compile(r"""\s*;\s*charset\*?\s*=\s*(?:"[^"]*"|[^\s;]*)""", re.IGNORECASE)
_FORMAT = re.compile(r"""\s*;\s*(?:format|delsp)\s*=\s*(?:"[^"]*"|[^\s;]*)""", re.IGNORECASE)
_TOKEN = re.compile(
    r"(?is)<!--.*?(?:-->|\Z)|<(script|style|title|textarea)\b.*?(?:</\1\s*>|\Z)|<[^>]*(?:>|\Z)"
)  # what is no text that is seen
_FOREIGN = re.compile(r"[^\x00-\x7f\ud800-\udfff]")  # characters that a character set may lack
_BEYOND_LATIN = re.compile(rb"[\x80-\x9f]")  # characters of windows-1252 that ISO 8859-1 has not
_DELIMITER = re.compile(rb"^--(?=.)", re.MULTILINE)
_BODY_BEGIN = re.compile(r"(?i)<body\b[^<>]*>")
_HEAD_END = re.compile(r"(?i)</head\s*>|<html\b[^<>]*>|<!doctype\b[^<>]*>")
_BODY_END = re.compile(r"(?i)</body\s*>|</html\s*>")


def add_text(raw: bytes, text: str, *, is_heading: bool) -> bytes:
    """Text before or behind what a reader sees: in each form of it, where there are several (multipart/alternative)."""
    lines = [line.rstrip() for line in _lines(text)]
    parsed = parse(raw)
    targets = [] if _is_sealed(parsed.parts) else _seen(parsed.parts, last=not is_heading)

    def put(part: Part, content: str, newline: str) -> str:
        if part.media_type == "text/html":
            return _put_html(content, lines, newline, is_heading=is_heading)
        block = newline.join(lines)
        if is_heading:
            return block + newline + content
        if not content or content.endswith("\n"):
            return content + block + newline
        return content + newline + block

    done = _rewritten(raw, targets, put)
    return _beside(raw, parsed.parts[0], "\n".join(lines), is_heading=is_heading) if done is None else done


def edit(raw: bytes, expression: str, replacement: str) -> bytes:
    """Replace each match in text that a reader sees: of HTML, in what stands between its tags. Raises SyntaxFault for a wrong expression."""
    change = substitution(expression, replacement)

    def put(part: Part, content: str, newline: str) -> str:
        plain = content.replace("\r\n", "\n")
        changed = _between_tags(plain, change) if part.media_type == "text/html" else change(plain)
        return content if changed == plain else changed.replace("\n", newline)

    parts = parse(raw).parts
    targets = [part for part in parts if _is_text(part) and not _is_inside(parts, part) and _text(part) is not None]
    done = _rewritten(raw, targets, put)
    return raw if done is None else done


def convert_html(raw: bytes) -> bytes:
    """HTML that a reader sees becomes plain text, as it is seen."""
    parts = parse(raw).parts
    pieces: list[tuple[int, int, bytes]] = []
    for part in parts:
        if _is_text(part) and part.media_type == "text/html" and not _is_inside(parts, part):
            text = part.text.replace("\r\n", "\n")
            pieces.append((part.start, part.end, _typed(raw, part, text if text.endswith("\n") or part.index else f"{text}\n")))
    return _replaced(raw, pieces)


def drop_parts(raw: bytes, numbers: Collection[int], replacement: str) -> bytes:
    """Take parts out; with a replacement, a part of text stands in the place of each. What stands in an archive or attached message goes with it,
    if it is taken out of octets that are encoded. The last part of a multipart, and a message that is all one part, become text."""
    parsed = parse(raw)
    parts = parsed.parts
    chosen = {_outermost(parts, number) for number in numbers if 0 <= number < len(parts)}
    chosen = {number for number in chosen if not any(above in chosen for above in _above(parts, number))}
    pieces: list[tuple[int, int, bytes]] = []
    families: dict[tuple[int, int], list[int]] = {}  # by parent and origin
    for one in parts:
        if not one.another:
            families.setdefault((one.parent, one.origin), []).append(one.index)
    remaining = {
        family: next((index for index in members if index in chosen), -1)
        for family, members in families.items()
        if chosen.issuperset(members)
    }
    for number in sorted(chosen):
        part = parts[number]
        family = part.parent, part.origin
        is_last = remaining.get(family, -1) == number if family in families else True  # all siblings go: the first of them becomes text
        if replacement or part.parent < 0 or is_last or not _is_delimited(raw, part):
            pieces.append((part.start, part.end, _typed(raw, part, "\n".join(_lines(replacement)), is_new=True)))
        else:
            pieces.append((_delimiter_before(raw, part), _line_end_behind(raw, part.end), b""))
    return _replaced(raw, pieces)


# --- which parts


def _is_text(part: Part) -> bool:
    is_text = part.media_type in ("text/plain", "text/html")
    return (
        is_text
        and not part.attachment
        and not part.another
        and part.origin < 0
        and part.encoding in ("identity", "quoted-printable", "base64")
    )


def _above(parts: Sequence[Part], number: int) -> Iterator[int]:
    while (number := parts[number].parent) >= 0:
        yield number


def _is_inside(parts: Sequence[Part], part: Part) -> bool:
    """Whether it stands in an attached message or in what is attached, signed or encrypted."""
    return any(
        parts[above].attachment or parts[above].media_type.startswith("message/") or parts[above].media_type in _SEALED
        for above in _above(parts, part.index)
    )


def _is_sealed(parts: Sequence[Part]) -> bool:
    if parts[0].media_type in _SEALED or _SEALED_WHOLE.match(parts[0].media_type):
        return True
    return any(part.media_type in _SEALED and not part.attachment and not _is_inside(parts, part) for part in parts)


def _seen(parts: Sequence[Part], *, last: bool) -> list[Part]:
    """The text that a reader sees first, or last: one part, or each of its forms."""
    texts = [part for part in parts if _is_text(part) and not _is_inside(parts, part)]
    if not texts:
        return []
    chosen = texts[-1 if last else 0]
    forms = [above for above in _above(parts, chosen.index) if parts[above].media_type == "multipart/alternative"]
    if not forms:
        return [chosen]
    found: dict[int, Part] = {}  # of each form, its first or last text
    for part in texts:
        above = [part.index, *_above(parts, part.index)]
        if forms[-1] in above:
            form = above[above.index(forms[-1]) - 1]
            found[form] = part if last else found.get(form, part)
    return list(found.values())


def _outermost(parts: Sequence[Part], number: int) -> int:
    """The part whose octets stand in the message as they are."""
    while parts[number].origin >= 0:
        number = parts[number].origin
    return number


# --- text of parts


def _lines(text: str) -> list[str]:
    """Lines of a text that an edit brings, without control characters."""
    return ["".join(c for c in line if c.isprintable() or c == "\t") for line in text.replace("\r\n", "\n").rstrip("\n").split("\n")]


def _put_html(content: str, lines: Sequence[str], newline: str, *, is_heading: bool) -> str:
    block = f"<div>{'<br>'.join(html.escape(line, quote=False) for line in lines)}</div>{newline}"
    if is_heading:
        found = _BODY_BEGIN.search(content) or next(reversed(list(_HEAD_END.finditer(content))), None)
        at = found.end() if found else 0
    else:
        ends = list(_BODY_END.finditer(content))
        bodies = [one for one in ends if one[0][2:6].lower() == "body"]
        at = (bodies or ends)[-1 if bodies else 0].start() if ends else len(content)
        block = block if at == 0 or content[at - 1] == "\n" else newline + block
        block = block if at < len(content) or content.endswith("\n") else block.removesuffix(newline)
    return content[:at] + block + content[at:]


def _between_tags(content: str, change: Callable[[str], str]) -> str:
    made: list[str] = []
    at = 0
    for tag in _TOKEN.finditer(content):
        made += (_changed(content[at : tag.start()], change), tag[0])
        at = tag.end()
    return "".join([*made, _changed(content[at:], change)])


def _changed(stretch: str, change: Callable[[str], str]) -> str:
    text = html.unescape(stretch)
    changed = change(text)
    return stretch if changed == text else html.escape(changed, quote=False)


# --- octets of parts


def _rewritten(raw: bytes, parts: Sequence[Part], put: Callable[[Part, str, str], str]) -> bytes | None:
    """The message with the text of these parts as `put` makes it of the text and its line end; None if there are none, or one cannot be read."""
    pieces: list[tuple[int, int, bytes]] = []
    for part in parts:
        read = _text(part)
        if read is None:
            return None
        text, codec = read
        newline = "\r\n" if "\r\n" in text or ("\n" not in text and newline_of(raw) == b"\r\n") else "\n"
        changed = put(part, text, newline)
        if changed != text:
            pieces.append((part.start, part.end, _encoded(raw, part, changed, codec)))
    return _replaced(raw, pieces) if parts else None


def _text(part: Part) -> tuple[str, str] | None:
    """The text of a part with its line ends, and Python's name of its character set; None unless the same octets come out of them again."""
    content = part.content()
    try:
        codec = codecs.lookup(part.charset or "ascii").name
        if codec == "ascii" and not content.isascii():  # unlabelled: most likely one of these
            codec = "utf-8" if _is_utf8(content) else "cp1252"
        if codec == "cp1252" and not _BEYOND_LATIN.search(content):
            codec = "iso8859-1"  # as which it may be labelled: a reader who takes that by the letter shall see what is added, too
        text = content.decode(codec, "surrogateescape")
        return (text, codec) if text.encode(codec, "surrogateescape") == content else None
    except (LookupError, UnicodeError):
        return None


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _encoded(raw: bytes, part: Part, text: str, codec: str) -> bytes:
    """Header and body of a part with this text: in its character set and transfer encoding, if these can hold it."""
    head = raw[part.start : part.body_start]
    newline = newline_of(raw)
    if part.media_type == "text/html":
        text = _FOREIGN.sub(lambda found: found[0] if _can_hold(codec, found[0]) else f"&#{ord(found[0])};", text)
    try:
        octets = text.encode(codec, "surrogateescape")
    except UnicodeEncodeError:
        octets = text.encode("utf-8", "surrogateescape")
        head = set_field(head, "Content-Type", _with_charset(first_value(head, "Content-Type") or part.media_type, "utf-8"))
        head = _with_version(head, part)
    if part.encoding == "base64":
        return head + _base64(octets, newline, raw[part.body_start : part.end].endswith(b"\n"))
    if part.encoding == "quoted-printable":
        return head + _quoted_printable(octets, newline)
    label = first_value(head, "Content-Transfer-Encoding").lower()
    before = raw[part.body_start : part.end]
    is_held = _is_plain(octets) or (label in ("8bit", "binary") and b"\0" not in octets) or not _is_plain(before)
    if is_held and (part.parent < 0 or _delimiters(octets) <= _delimiters(before)):
        return head + octets
    head = set_field(head, "Content-Transfer-Encoding", "quoted-printable")
    return _with_version(head, part) + _quoted_printable(octets, newline)


def _can_hold(codec: str, character: str) -> bool:
    try:
        character.encode(codec)
    except UnicodeEncodeError:
        return False
    return True


def _delimiters(octets: bytes) -> set[bytes]:
    """Lines that a boundary may begin with, as a delimiter of some multipart (RFC 2046 section 5.1.1)."""
    return {line for line in octets.splitlines() if line.startswith(b"--") and line.strip() != b"--"} if b"--" in octets else set()


def _typed(raw: bytes, part: Part, text: str, *, is_new: bool = False) -> bytes:
    """Header and body of a part that becomes plain text: of the message itself, with all its other fields. `is_new`: no other field of it stays."""
    newline = newline_of(raw)
    head = raw[part.start : part.body_start]
    if part.parent < 0:
        head = take_content_fields(head)[0] if is_new else head
    elif is_new:
        head = newline
    octets = text.encode("utf-8", "replace")
    is_plain = _is_plain(octets) and not _delimiters(octets)
    was = "" if is_new else first_value(head, "Content-Type")
    media_type = (
        _FORMAT.sub("", " ".join(was.split()).replace("text/html", "text/plain", 1)) if was.startswith("text/html") else "text/plain"
    )
    head = set_field(head, "Content-Type", _with_charset(media_type, "us-ascii" if is_plain else "utf-8"))
    head = set_field(head, "Content-Transfer-Encoding", "7bit" if is_plain else "quoted-printable")
    head = _with_version(head, part)
    body = octets.replace(b"\n", newline) if is_plain else _quoted_printable(octets, newline)
    return _ended(head, newline) + body


def _with_version(head: bytes, part: Part) -> bytes:
    return set_field(head, "MIME-Version", "1.0") if part.parent < 0 and not first_value(head, "MIME-Version") else head


def _with_charset(content_type: str, charset: str) -> str:
    one_line = " ".join(content_type.encode("ascii", "replace").decode().split())  # no long runs of white space for the expression
    bare = _CHARSET.sub("", one_line if len(one_line) <= LINE_LIMIT else one_line.partition(";")[0])
    media_type, semicolon, more = bare.partition(";")
    return f"{media_type.strip()}; charset={charset}{semicolon}{more}"


def _is_plain(octets: bytes) -> bool:
    """What 7bit may hold (RFC 2045 section 2.7)."""
    return octets.isascii() and b"\0" not in octets and all(len(line) <= LINE_LIMIT for line in octets.split(b"\n"))


def _quoted_printable(octets: bytes, newline: bytes) -> bytes:
    lines = binascii.b2a_qp(octets.replace(b"\r\n", b"\n"), istext=True).replace(b"\r", b"=0D")
    return _DELIMITER.sub(b"=2D-", lines).replace(b"\n", newline)  # no line of it is a delimiter


def _base64(octets: bytes, newline: bytes, is_ended: bool) -> bytes:
    lines = base64.encodebytes(octets).replace(b"\n", newline)
    return lines if is_ended else lines.removesuffix(newline)


def _ended(head: bytes, newline: bytes) -> bytes:
    """A header with the empty line that ends it."""
    if head.endswith((b"\n\r\n", b"\n\n")) or head in (b"\r\n", b"\n"):
        return head
    return head + (newline if head.endswith(b"\n") or not head else 2 * newline)


# --- structure


def _beside(raw: bytes, root: Part, text: str, *, is_heading: bool) -> bytes:
    """The message as a part of its own, with a part of text before or behind it."""
    newline = newline_of(raw)
    fields, content_fields = take_content_fields(raw[: root.body_start])
    body = raw[root.body_start :]
    octets = text.encode("utf-8", "replace")
    boundary = _boundary(raw + octets)
    charset, encoding = ("us-ascii", "7bit") if _is_plain(octets) else ("utf-8", "quoted-printable")
    note = newline.join(
        [
            b"Content-Type: text/plain; charset=" + charset.encode(),
            b"Content-Transfer-Encoding: " + encoding.encode(),
            b"Content-Disposition: inline",
            b"",
            octets.replace(b"\n", newline) if encoding == "7bit" else _quoted_printable(octets, newline),
        ]
    )
    inner = content_fields + newline + body
    first, second = (note, inner) if is_heading else (inner, note)
    head = set_field(fields, "Content-Type", f'multipart/mixed; boundary="{boundary}"')
    head = _ended(_with_version(head, root), newline)
    line = b"--" + boundary.encode()
    return joined(head, newline.join([line, first, line, second, line + b"--", b""]))


def _boundary(raw: bytes) -> str:
    """One that stands nowhere in the message; the same for the same message."""
    number = 0
    while True:
        boundary = f"esa-{hashlib.sha256(b'%d ' % number + raw).hexdigest()[:32]}"
        if boundary.encode() not in raw:
            return boundary
        number += 1


def _is_delimited(raw: bytes, part: Part) -> bool:
    """Whether a line that begins with -- stands before it."""
    return part.start > 0 and raw.startswith(b"--", _delimiter_before(raw, part))


def _delimiter_before(raw: bytes, part: Part) -> int:
    """Where the line before a part begins."""
    return raw.rfind(b"\n", 0, max(part.start - 1, 0)) + 1


def _line_end_behind(raw: bytes, at: int) -> int:
    """Behind the line end that belongs to the next delimiter."""
    for newline in (b"\r\n", b"\n"):
        if raw.startswith(newline, at):
            return at + len(newline)
    return at


def _replaced(raw: bytes, pieces: Sequence[tuple[int, int, bytes]]) -> bytes:
    """The octets with these stretches replaced; of stretches that overlap, as other readings of a message may have them, the first."""
    made: list[bytes] = []
    at = 0
    for start, end, octets in sorted(pieces, key=lambda piece: piece[:2]):
        if start >= at:
            made += (raw[at:start], octets)
            at = end
    return b"".join([*made, raw[at:]])
