"""Where a regular expression without a literal may match: some octets of it are of small sets, side by side.

Where the rarest of four octets may be one of a shape, all four are looked up in four tables of 64 bits, one a bucket of shapes: the bits that all four
have are the buckets of which a shape may stand there. It is compared with all its octets, up to 32; where it stands, the expression wakes as one
whose literal was found (`_anchors`). Called by `_program`.

Hostile text: a bucket whose shapes all have woken for a whole region is not looked for in the rest of it, and comparisons count as octets looked at.
"""

import numpy as np

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from esa_core._anchors cimport AnchorTable, WakeSink, is_awake, is_spent, wake_anchor

cdef extern from *:
    """
    #define ESA_SHAPE_BUCKETS 64u
    #define ESA_SHAPE_MASKS 1024u    /* 4 places of 256 octets */
    #define esa_lowest_bit(bits) ((uint32_t)__builtin_ctzll(bits))
    """
    const uint32_t ESA_SHAPE_BUCKETS
    const uint32_t ESA_SHAPE_MASKS
    uint32_t esa_lowest_bit(uint64_t bits) noexcept nogil

cdef extern from "octet_set.h" nogil:
    void esa_octet_set_fill(EsaOctetSet *set, const uint8_t *member)
    uint32_t esa_next_of_plain(const EsaOctetSet *set, const uint8_t *text, uint32_t at, uint32_t n)
    uint32_t esa_next_of_wide(const EsaOctetSet *set, const uint8_t *text, uint32_t at, uint32_t n)
    bint esa_octet_sets_are_wide()

cdef bint wide = esa_octet_sets_are_wide()

LONGEST_SHAPE = 32
_FREQUENT = ((b" ", 150), (b"aeinorst", 50), (b"bcdfghjklmpquvwxyz", 15), (b"0123456789.,-/:\n", 4))  # octets, how many of a thousand each is; others: 1
_SHAPE = np.dtype([("anchor", "u4"), ("written", "u4"), ("bucket", "u4"), ("length", "u4"), ("rarest", "u4"), ("sets", "u4", LONGEST_SHAPE)])


# --- matching -------------------------------------------------------------------------------------------------------------------------

cdef bint has_shapes(const ShapeTable *table, bint written) noexcept nogil:
    if table.n_shapes == 0:
        return False
    return table.starts[written * ESA_SHAPE_BUCKETS] < table.starts[(<uint32_t> written + 1) * ESA_SHAPE_BUCKETS]


cdef inline bint _stands(const AnchorTable *anchors, const Shape *shape, const uint8_t *text, uint32_t n, uint32_t at) noexcept nogil:
    """Whether the four that are looked for stand at text[at], and the others beside them."""
    cdef uint32_t k, start = at - shape.rarest
    cdef uint8_t octet
    if at < shape.rarest or shape.length > n - start:
        return False
    for k in range(shape.length):
        octet = text[start + k]
        if not anchors.sets[32 * shape.sets[k] + (octet >> 3)] >> (octet & 7) & 1:
            return False
    return True


cdef int match_shapes(
    const ShapeTable *table, const AnchorTable *anchors, WakeSink *sink, bint written, uint32_t region, uint32_t kind, const uint8_t *text, uint32_t n
) noexcept nogil:
    """Wake what has a shape that stands in text[:n], a region of this kind. 0, or -1 for no memory."""
    cdef const uint64_t *masks = table.masks + written * ESA_SHAPE_MASKS
    cdef const uint32_t *starts = table.starts + written * ESA_SHAPE_BUCKETS
    cdef const Shape *shape
    cdef uint64_t alive = ~<uint64_t> 0, found
    cdef uint32_t at = 0, k, i, bucket, inner = n - 3 if n > 3 else 0, place = table.place[written]
    cdef const EsaOctetSet *rare = &table.rare[written]
    cdef bint all_awake
    while at < n:
        if at < inner:
            at = (esa_next_of_wide(rare, text, at + place, n) if wide else esa_next_of_plain(rare, text, at + place, n)) - place
        if at < inner:
            found = masks[text[at]] & masks[256 + text[at + 1]] & masks[512 + text[at + 2]] & masks[768 + text[at + 3]] & alive
        else:
            found = alive            # shapes that are too long for the end are found by comparing
            for k in range(n - at):
                found &= masks[256 * k + text[at + k]]
        at += 1
        if found == 0:
            continue
        if is_spent(sink):
            return 0
        while found:
            bucket = esa_lowest_bit(found)
            found &= found - 1
            all_awake = True
            for i in range(starts[bucket], starts[bucket + 1]):
                shape = &table.shapes[i]
                if not anchors.anchors[shape.anchor].regions >> kind & 1 or is_awake(sink, shape.anchor, region, n):
                    continue
                all_awake = False
                sink.work += 8
                if _stands(anchors, shape, text, n, at - 1) and wake_anchor(
                    anchors, sink, shape.anchor, region, text, n, at - 1 - shape.rarest, at - 1 - shape.rarest + shape.length
                ) < 0:
                    return -1
            if all_awake:
                alive &= ~(<uint64_t> 1 << bucket)
    return 0


# --- building -------------------------------------------------------------------------------------------------------------------------

def shapes_of(anchors, sets):
    """The sections of the anchors that have a shape; adds to {set: its number}."""
    chosen = sorted([(bool(anchor.cased), anchor.shape, anchor.rarest, number) for number, anchor in enumerate(anchors) if anchor.shape])
    rows = np.zeros(len(chosen), _SHAPE)
    masks = np.zeros((2, 4, 256), np.uint64)
    for row, (cased, shape, rarest, number) in enumerate(chosen):
        # similar shapes share a bucket
        of_kind = [one for one in chosen if one[0] == cased]
        bucket = of_kind.index((cased, shape, rarest, number)) * <int> ESA_SHAPE_BUCKETS // len(of_kind)
        numbers = [sets.setdefault(octets, len(sets)) for octets in shape] + [0] * (LONGEST_SHAPE - len(shape))
        rows[row] = (number, cased, bucket, len(shape), rarest, numbers)
        bit = np.uint64(1 << bucket)
        for place in range(4):
            octets = shape[rarest + place] if rarest + place < len(shape) else (1 << 256) - 1
            masks[int(cased), place] |= np.where(np.unpackbits(np.frombuffer(octets.to_bytes(32, "little"), np.uint8), bitorder="little"), bit, np.uint64(0))
    keys = rows["written"] * <int> ESA_SHAPE_BUCKETS + rows["bucket"]
    starts = np.searchsorted(keys, np.arange(2 * <int> ESA_SHAPE_BUCKETS + 1)).astype(np.uint32)
    return {"shapes": rows.view(np.uint8), "shape_starts": starts, "shape_masks": masks} if chosen else {}


cdef int attach_shapes(ShapeTable *table, dict sections, const AnchorTable *anchors) except -1:
    """Point into sections, after having looked whether all that is followed stays in them."""
    cdef const uint8_t[::1] octets
    cdef const uint32_t[::1] numbers
    cdef const uint64_t[::1] words
    memset(table, 0, sizeof(ShapeTable))
    if "shapes" not in sections:
        return 0
    for name, size in (("shapes", _SHAPE.itemsize), ("shape_starts", 4 * (2 * <int> ESA_SHAPE_BUCKETS + 1)), ("shape_masks", 16 * <int> ESA_SHAPE_MASKS)):
        if name not in sections or sections[name].nbytes % size or (name != "shapes" and sections[name].nbytes != size):
            raise ValueError(f"section {name}: is missing or has another size")
    shapes, starts = sections["shapes"].view(_SHAPE), sections["shape_starts"].view(np.uint32)
    if (np.diff(starts.astype(np.int64)) < 0).any() or int(starts.max()) > len(shapes):
        raise ValueError("section shape_starts: does not rise to the end of the shapes")
    if len(shapes) == 0:
        raise ValueError("section shapes: is empty")
    if int(shapes["length"].max()) > LONGEST_SHAPE or (shapes["rarest"] >= shapes["length"]).any():
        raise ValueError("section shapes: has lengths that do not exist")
    if int(shapes["anchor"].max()) >= anchors.n_anchors or int(shapes["sets"].max()) >= len(sections["sets"]) // 32:
        raise ValueError("section shapes: names what does not exist")
    octets, numbers, words = sections["shapes"], starts, sections["shape_masks"].view(np.uint64)
    table.n_shapes = <uint32_t> len(shapes)
    table.shapes, table.starts, table.masks = <const Shape *> &octets[0], &numbers[0], &words[0]
    _attach_rare(table, sections["shape_masks"].view(np.uint64).reshape(2, 4, 256))
    return 0


def next_of(bytes members not None, bytes text not None, uint32_t start=0, *, bint plain=False):
    """The first place from `start` on at which an octet of `members` stands; the length of the text if there is none. For tests: `plain` by the code that
    runs on every processor."""
    cdef EsaOctetSet octets
    cdef uint8_t[256] member
    cdef uint32_t at, n = <uint32_t> len(text)
    memset(member, 0, 256)
    for at in range(<uint32_t> len(members)):
        member[<uint8_t> members[at]] = 1
    esa_octet_set_fill(&octets, member)
    return esa_next_of_plain(&octets, text, min(start, n), n) if plain or not wide else esa_next_of_wide(&octets, text, min(start, n), n)


cdef int _attach_rare(ShapeTable *table, masks) except -1:
    """Choose of the four octets the one that a text has least often."""
    cdef const uint8_t[::1] member
    cdef uint32_t written
    weights = np.ones(256)
    for octets, weight in _FREQUENT:
        weights[list(octets)] = weight
    for written in range(2):
        members = masks[written] != 0
        shares = members @ weights
        table.place[written] = place = int(shares.argmin())
        member = members[place].astype(np.uint8)
        esa_octet_set_fill(&table.rare[written], &member[0])
    return 0
