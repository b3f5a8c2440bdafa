# cython: wraparound=True
"""Domain names: to ASCII and back (UTS 46, non-transitional), and what of one can be registered (public suffix list).

The suffixes are a generated closed table, looked up without the GIL. Names that are not ASCII are rare: they are read in Python, with the
Unicode data of its release.
"""

import unicodedata

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from esa_core._entity cimport look_up

cdef extern from "suffix_tables.h" nogil:
    const uint32_t suffix_MASK
    const uint16_t *suffix_slots
    const uint32_t *suffix_starts
    const uint8_t *suffix_lengths
    const uint16_t *suffix_values
    const uint8_t *suffix_pool
    const uint32_t LONGEST_SUFFIX

cdef enum:                       # as tables/hosts.py writes them
    IS_SUFFIX = 1
    ALL_BELOW = 2
    NO_SUFFIX = 4

    MOST_NAME = 1024             # characters; DNS takes 253, and what is longer costs a browser nothing but an error
    MOST_ENCODED = 63            # of a label in Punycode or not in ASCII, as DNS: reading Punycode takes time by the square of its length

# ---- public suffixes ----

cdef size_t registrable_start(const uint8_t *host, size_t length) noexcept nogil:
    """Offset of the registrable domain in a host name in lower case ASCII, without a dot at its end; `length` if there is none."""
    cdef size_t at = length
    cdef size_t label = length   # where the label before `at` begins
    cdef size_t suffix = length  # where the longest public suffix begins
    cdef size_t below = length   # where the label in front of it begins
    cdef uint32_t entry, rules
    cdef bint is_suffix = True   # the last label alone is one, if no rule speaks of it
    cdef bint all_below = False
    while at:
        label = at
        while label and host[label - 1] != 46:
            label -= 1
        if label == at:  # an empty label
            return length
        rules = 0
        if length - label <= LONGEST_SUFFIX:
            entry = look_up(host + label, length - label, suffix_MASK, suffix_slots, suffix_starts, suffix_lengths, suffix_pool)
            rules = suffix_values[entry - 1] if entry else 0
        if rules & NO_SUFFIX:
            return label
        if is_suffix or all_below or rules & IS_SUFFIX:
            suffix = label
        is_suffix = False
        all_below = rules & ALL_BELOW != 0
        if length - label > LONGEST_SUFFIX + 64 and not all_below:
            break
        at = label - 1 if label else 0
        if label == 1:  # a dot at the start
            return length
    if suffix == 0 or suffix == length:
        return length
    below = suffix - 1
    while below and host[below - 1] != 46:
        below -= 1
    return below if below < suffix - 1 else length


def registrable_domain(str host not None):
    """The registrable domain of a host name in ASCII, "" if there is none (a public suffix itself, an address)."""
    cdef bytes name = host.encode("ascii", "replace").lower()
    cdef const uint8_t *octets = name
    cdef size_t length = len(name)
    if length and octets[length - 1] == 46:
        length -= 1
    if length == 0 or octets[0] == 91 or 48 <= octets[length - 1] <= 57:  # no top-level domain ends with a digit
        return ""
    return name[registrable_start(octets, length):length].decode()


# ---- names that are not ASCII ----

_LETTERS_DIGITS_HYPHEN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_DEVIATIONS = frozenset("\u00df\u03c2\u200c\u200d")  # kept, where transitional processing would map them
_IGNORED = frozenset(map(chr, (
    0xAD, 0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x180E), 0x180F, 0x200B, 0x2060, 0x2064, 0x3164, *range(0xFE00, 0xFE10), 0xFEFF,
    0xFFA0, *range(0x1BCA0, 0x1BCA4), *range(0xE0100, 0xE01F0))))
_UNASSIGNED = frozenset(("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"))
# Letters that join to the one before them only (Joining_Type R), of Arabic; the other letters of its script join on both sides.
_JOINS_BEFORE = frozenset(map(chr, (
    *range(0x622, 0x626), 0x627, 0x629, *range(0x62F, 0x633), 0x648, *range(0x671, 0x674), *range(0x675, 0x678), *range(0x688, 0x69A), 0x6C0,
    *range(0x6C3, 0x6CC), 0x6CD, 0x6CF, 0x6D2, 0x6D3, 0x6D5, 0x6EE, 0x6EF)))


def _mapped(str character):
    """What UTS 46 maps a code point to; None if it may not stand in a name."""
    if character < "\x80":
        return character.lower()
    if character in _DEVIATIONS:
        return character
    if character in _IGNORED:
        return ""
    if character == "\u1e9e":
        return "\u00df"
    if character in "\u3002\uff61":
        return "."
    category = unicodedata.category(character)
    found = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", character).casefold())
    found = unicodedata.normalize("NFKC", found.casefold())
    if category in _UNASSIGNED and found == character:
        return None
    if "\u2ff0" <= character <= "\u2fff" or character in "\ufffc\ufffd" or ("." in found and len(found) > 1):
        return None
    return None if any(unicodedata.category(part) in _UNASSIGNED and part > "\x7f" for part in found) else found


def _joiners_hold(str label):
    """RFC 5892 appendix A.1 and A.2, with the joining types of Arabic."""
    for at, character in enumerate(label):
        if character not in "\u200c\u200d":
            continue
        if at and unicodedata.combining(label[at - 1]) == 9:  # a virama
            continue
        if character == "\u200d":
            return False
        before = [part for part in label[:at] if unicodedata.category(part) != "Mn"]
        after = [part for part in label[at + 1:] if unicodedata.category(part) != "Mn"]
        if not before or not after or unicodedata.bidirectional(before[-1]) != "AL" or unicodedata.bidirectional(after[0]) != "AL":
            return False
        if before[-1] in _JOINS_BEFORE:
            return False
    return True


def _directions_hold(str label):
    """The Bidi rule for one label (RFC 5893 section 2)."""
    kinds = [unicodedata.bidirectional(character) for character in label]
    if not kinds:
        return True
    ending = kinds[:]
    while len(ending) > 1 and ending[-1] == "NSM":
        ending.pop()
    if kinds[0] in ("R", "AL"):
        return (all(kind in ("R", "AL", "AN", "EN", "ES", "CS", "ET", "ON", "BN", "NSM") for kind in kinds)
                and ending[-1] in ("R", "AL", "EN", "AN") and not ("EN" in kinds and "AN" in kinds))
    return kinds[0] == "L" and all(kind in ("L", "EN", "ES", "CS", "ET", "ON", "BN", "NSM") for kind in kinds) and ending[-1] in ("L", "EN")


def _label_holds(str label, bint strict):
    """UTS 46 section 4.1."""
    if not label:
        return True
    if unicodedata.normalize("NFC", label) != label or unicodedata.category(label[0])[0] == "M" or not _joiners_hold(label):
        return False
    if strict and (label[2:4] == "--" or label[0] == "-" or label[-1] == "-"):
        return False
    if label.startswith("xn--") or (strict and any(character < "\x80" and character not in _LETTERS_DIGITS_HYPHEN for character in label)):
        return False
    return all(character < "\x80" and not "A" <= character <= "Z" or character >= "\x80" and _mapped(character) == character
               for character in label)


def domain_to_unicode(str domain not None, *, bint strict=False):
    """(name, whether it holds): labels in Punycode written out, all _mapped. `strict` asks for what DNS asks for too (hyphens)."""
    cdef list labels = []
    cdef list pieces = []
    cdef bint holds = True
    if len(domain) > MOST_NAME:
        return domain, False
    for character in domain:
        found = _mapped(character)
        if found is None:
            holds = False
        pieces.append(character if found is None else found)
    for label in unicodedata.normalize("NFC", "".join(pieces)).split("."):
        if len(label) > MOST_ENCODED and (label.startswith("xn--") or not label.isascii()):
            holds = False
            labels.append(label)
        elif label.startswith("xn--"):
            try:
                written = label[4:].encode("ascii").decode("punycode")
                again = "xn--" + written.encode("punycode").decode("ascii")
            except (UnicodeError, ValueError, OverflowError):
                holds = False
                labels.append(label)
                continue
            if not written or written.isascii() or again != label:
                holds = False
            holds = holds and _label_holds(written, strict)
            labels.append(written)
        else:
            holds = holds and _label_holds(label, strict)
            labels.append(label)
    if any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for label in labels for character in label):
        holds = holds and all(_directions_hold(label) for label in labels)
    return ".".join(labels), holds


def domain_to_ascii(str domain not None, *, bint strict=False):
    """The name in ASCII as it is looked up, None if it cannot be one (HTML and URL Standards: domain to ASCII). `strict`: lengths too."""
    cdef list labels = []
    name, holds = domain_to_unicode(domain, strict=strict)
    if not holds:
        return None
    for label in name.split("."):
        if not label.isascii():
            label = "xn--" + label.encode("punycode").decode("ascii")
            if len(label) > MOST_ENCODED:
                return None
        if strict and not 1 <= len(label) <= 63:
            return None
        labels.append(label)
    found = ".".join(labels)
    return None if len(found) > (253 if strict else MOST_NAME) else found
