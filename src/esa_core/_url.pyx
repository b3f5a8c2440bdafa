# cython: wraparound=True
"""URLs as a browser reads them (URL Standard 4.4): where a link leads, whatever it looks like.

Only special schemes with a host are taken apart (http, https, ws, wss, ftp); of another URL the scheme is lowered and the rest kept. Reads
Python strings, when a link is asked for it; a message's facts have their own, smaller reader.
"""

from collections import namedtuple

from esa_core._domain import domain_to_ascii, domain_to_unicode, registrable_domain

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21}
C0_AND_SPACE = "".join(map(chr, range(33)))
SCHEME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.")
# What a name may not hold (URL Standard 3.1), beside controls
FORBIDDEN = frozenset(" #/:<>?@[\\]^|%\x7f") | frozenset(map(chr, range(32)))
FRAGMENT = frozenset(b' "<>`')
QUERY = frozenset(b" \"#<>'")
PATH = frozenset(b' "#<>?^`{}')
USERINFO = PATH | frozenset(b"/:;=@[\\]|")

Url = namedtuple("Url", ("scheme", "userinfo", "host", "port", "path", "query", "fragment"))
Url.__doc__ = """A URL in its parts, each as it is written in a request; port -1, query or fragment None: not there."""


def encoded(str text, frozenset octets):
    """Percent-encode what must be: controls, all above "~", and these octets."""
    cdef bytes raw = text.encode("utf-8", "replace")
    cdef bytearray out = bytearray()
    for octet in raw:
        if octet <= 31 or octet > 126 or octet in octets:
            out += b"%%%02X" % octet
        else:
            out.append(octet)
    return out.decode("ascii")


def decoded(str text):
    """Percent-decode, as UTF-8."""
    cdef bytes raw = text.encode("utf-8", "replace")
    cdef list pieces = raw.split(b"%")
    cdef bytearray out = bytearray(pieces[0])
    for piece in pieces[1:]:
        try:
            if len(piece) < 2 or piece[0] in b" +-" or piece[:2] != piece[:2].strip() or b"_" in piece[:2]:
                raise ValueError
            out.append(int(piece[:2], 16))
            out += piece[2:]
        except ValueError:
            out += b"%" + piece
    return out.decode("utf-8", "replace")


# ---- hosts ----

def number_of(str text):
    """An IPv4 number: decimal, octal behind "0", hexadecimal behind "0x"; None if it is none."""
    cdef int base = 10
    cdef str digits = "0123456789"
    if text == "":
        return None
    if text[:2] in ("0x", "0X"):
        text, base, digits = text[2:], 16, "0123456789abcdefABCDEF"
    elif len(text) > 1 and text[0] == "0":
        text, base, digits = text[1:], 8, "01234567"
    if any(character not in digits for character in text):
        return None
    return int(text[-4300:] if len(text.lstrip("0")) > 40 else text, base) if text else 0


def ends_in_number(str host):
    cdef list parts = host.split(".")
    if parts[-1] == "" and len(parts) > 1:
        parts.pop()
    last = parts[-1]
    return bool(last) and (last.isdigit() and last.isascii() or (last[:2] in ("0x", "0X") and number_of(last) is not None))


def ipv4(str host):
    """The address in dotted decimal, None if it is none."""
    cdef list parts = host.split(".")
    if parts[-1] == "" and len(parts) > 1:
        parts.pop()
    if len(parts) > 4:
        return None
    numbers = [number_of(part) for part in parts]
    if any(number is None for number in numbers) or any(number > 255 for number in numbers[:-1]):
        return None
    if numbers[-1] >= 256 ** (5 - len(numbers)):
        return None
    value = numbers[-1] + sum(number * 256 ** (3 - at) for at, number in enumerate(numbers[:-1]))
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))


def ipv6(str text):
    """The address in its canonical form (RFC 5952), None if it is none."""
    cdef list pieces = []
    cdef int gap = -1
    if text.startswith("::"):
        gap = 0
        text = text[2:]
        rest = text.split(":") if text else []
    else:
        rest = text.split(":")
    for at, piece in enumerate(rest):
        if piece == "":
            if gap >= 0 or at == 0 or (at == len(rest) - 1):
                if not (gap < 0 and at == len(rest) - 1 and len(rest) > 1 and rest[at - 1] == ""):
                    return None
            if gap < 0 and at < len(rest) - 1:
                gap = len(pieces)
                if at == len(rest) - 2 and rest[-1] == "":
                    break
                continue
            return None
        if "." in piece and at == len(rest) - 1:
            numbers = piece.split(".")
            if len(numbers) != 4 or len(pieces) > 6:
                return None
            for number in numbers:
                if not (number.isdigit() and number.isascii()) or len(number) > 3 or (len(number) > 1 and number[0] == "0") or int(number) > 255:
                    return None
            pieces.append(int(numbers[0]) << 8 | int(numbers[1]))
            pieces.append(int(numbers[2]) << 8 | int(numbers[3]))
        else:
            if len(piece) > 4 or any(character not in "0123456789abcdefABCDEF" for character in piece):
                return None
            pieces.append(int(piece, 16))
    if len(pieces) > 8 or (gap < 0 and len(pieces) != 8) or (gap >= 0 and len(pieces) == 8):
        return None
    if gap >= 0:
        pieces[gap:gap] = [0] * (8 - len(pieces))
    best, length = -1, 1
    at = 0
    while at < 8:
        end = at
        while end < 8 and pieces[end] == 0:
            end += 1
        if end - at > length:
            best, length = at, end - at
        at = max(end, at + 1)
    words = [f"{piece:x}" for piece in pieces]
    if best < 0:
        return ":".join(words)
    return ":".join(words[:best]) + "::" + ":".join(words[best + length:])


def read_host(str text):
    """The host as it is looked up, None if it cannot be one."""
    if text.startswith("["):
        address = ipv6(text[1:-1]) if text.endswith("]") else None
        return None if address is None else f"[{address}]"
    name = decoded(text)
    name = name.lower() if name.isascii() and "xn--" not in name.lower() else domain_to_ascii(name)
    if not name or any(character in FORBIDDEN for character in name):
        return None
    return ipv4(name) if ends_in_number(name) else name


# ---- paths ----

def shortened(list segments, list base):
    """Append path segments to those of `base`; dots are followed."""
    cdef list out = list(base)
    for at, segment in enumerate(segments):
        last = at == len(segments) - 1
        dots = segment.lower().replace("%2e", ".")
        if dots == "..":
            if out:
                out.pop()
            if last:
                out.append("")
        elif dots == ".":
            if last:
                out.append("")
        else:
            out.append(encoded(segment, PATH))
    return out


def split_tail(str rest):
    """(path, query or None, fragment or None)"""
    rest, mark, fragment = rest.partition("#")
    fragment = encoded(fragment, FRAGMENT) if mark else None
    rest, mark, query = rest.partition("?")
    return rest, encoded(query, QUERY) if mark else None, fragment


def read_authority(str scheme, str rest):
    """What stands behind "scheme://"."""
    cdef int end = 0
    while end < len(rest) and rest[end] not in "/\\?#":
        end += 1
    authority, rest = rest[:end], rest[end:]
    userinfo, at, authority = authority.rpartition("@")
    if at and not authority:
        return None
    if userinfo:
        user, colon, password = userinfo.partition(":")
        userinfo = encoded(user, USERINFO) + (":" + encoded(password, USERINFO) if password else "")
    bracket = authority.rfind("]")
    colon = authority.find(":", bracket + 1) if bracket >= 0 else authority.find(":")
    port = -1
    if colon >= 0:
        digits, authority = authority[colon + 1:], authority[:colon]
        if digits:
            if not (digits.isdigit() and digits.isascii()) or int(digits[-4000:]) > 65535:
                return None
            port = int(digits)
            port = -1 if port == DEFAULT_PORTS[scheme] else port
    host = read_host(authority) if authority else None
    if host is None:
        return None
    path, query, fragment = split_tail(rest)
    segments = path.replace("\\", "/").split("/")[1:] if path else [""]
    return Url(scheme, userinfo, host, port, "/" + "/".join(shortened(segments, [])), query, fragment)


def read_relative(str rest, base):
    """A URL without a scheme, or with that of `base` and no slashes behind it."""
    if rest[:1] in ("/", "\\") and rest[:1]:
        if rest[1:2] in ("/", "\\") and rest[1:2]:
            return read_authority(base.scheme, rest.lstrip("/\\"))
        path, query, fragment = split_tail(rest)
        return base._replace(path="/" + "/".join(shortened(path.replace("\\", "/").split("/")[1:], [])), query=query, fragment=fragment)
    path, query, fragment = split_tail(rest)
    if path == "":
        return base._replace(query=base.query if query is None else query, fragment=fragment)
    before = base.path.split("/")[1:-1]
    return base._replace(path="/" + "/".join(shortened(path.replace("\\", "/").split("/"), before)), query=query, fragment=fragment)


# ---- the doors ----

def read_url(str text not None, base=None):
    """The URL in its parts, seen from the Url `base`; None if it is malformed, relative without a base, or of a scheme without a host."""
    cdef int colon
    text = text.strip(C0_AND_SPACE).replace("\t", "").replace("\n", "").replace("\r", "")
    colon = scheme_end(text)
    if colon < 0:
        return None if base is None else read_relative(text, base)
    scheme = text[:colon].lower()
    if scheme not in DEFAULT_PORTS:
        return None
    rest = text[colon + 1:]
    if base is not None and base.scheme == scheme and rest[:2] != "//":
        return read_relative(rest, base)
    return read_authority(scheme, rest.lstrip("/\\"))


cdef int scheme_end(str text):
    """Offset of the colon behind a scheme, -1 if there is none."""
    cdef int at = 0
    while at < len(text) and text[at] in SCHEME:
        at += 1
    return at if 0 < at < len(text) and text[at] == ":" and text[0] not in "0123456789+-." else -1


def written(url):
    """A Url as one string."""
    return (
        f"{url.scheme}://{url.userinfo + '@' if url.userinfo else ''}{url.host}{f':{url.port}' if url.port >= 0 else ''}{url.path}"
        f"{'' if url.query is None else '?' + url.query}{'' if url.fragment is None else '#' + url.fragment}"
    )


def normal_url(str text not None, str base not None=""):
    """The URL as a browser would ask for it; "" if it is malformed, or relative and `base` no URL. Of a scheme without a host: its text."""
    cdef int colon
    text = text.strip(C0_AND_SPACE).replace("\t", "").replace("\n", "").replace("\r", "")
    url = read_url(text, read_url(base) if base else None)
    if url is not None:
        return written(url)
    colon = scheme_end(text)
    if colon < 0 or text[:colon].lower() in DEFAULT_PORTS:
        return ""
    return text[:colon].lower() + text[colon:]


class Link(namedtuple("Link", ("url", "shown", "kind", "part", "hidden", "base"))):
    """One link. `kind` is anchor, image, form, text (a bare URL) or other; `shown` the text or alt text shown for it, "" if none; `part` the
    index of its part; `hidden` whether it stands in text that is not shown; `base` what its page says relative URLs count from.
    """

    __slots__ = ()

    @property
    def _address(self):
        """The URL as a client makes it of what stands in the text."""
        return "http://" + self.url if self.kind == "text" and self.url[:4].lower() == "www." else self.url

    @property
    def normal(self):
        """The URL as a browser would ask for it, "" if it is malformed or relative to nothing."""
        return normal_url(self._address, self.base)

    @property
    def host(self):
        """The name or address that a browser would look up, in lower case ASCII; "" if there is none."""
        url = read_url(self._address, read_url(self.base) if self.base else None)
        return "" if url is None else url.host

    @property
    def host_shown(self):
        """The same with Punycode written out."""
        host = self.host
        return domain_to_unicode(host)[0] if "xn--" in host else host

    @property
    def registrable_domain(self):
        """The part of the host that someone registered (by the public suffix list), "" if there is none."""
        return registrable_domain(self.host)
