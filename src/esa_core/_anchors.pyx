"""Where a regular expression may match: a literal of it is found with all other patterns, its neighbours are looked for beside it.

A regular expression is taken as literals in their order with stretches between them: so many octets of such a set. One literal, the rarest, is its
anchor and is looked for in the text. Where it stands, the literal before and the one behind must stand as near as the stretches allow; what comes out is
the window in which a match that has the anchor there must lie. Everything is one-sided: a window may be for nothing, but there is no match outside of
one. Called by `_program`.

Hostile text: each neighbour is looked for in ESA_NEAR octets at most, past which it may be anywhere, and only so often, after which the
anchor counts as one without neighbours. The octets looked at are counted, and past ESA_MAX_WORK the message is capped: any expression may match.
"""

from collections import namedtuple

import numpy as np

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memset

cdef extern from *:
    """
    /* Octets in which a neighbour is looked for before it is taken as found: more than a line. */
    #define ESA_NEAR 256u
    /* Octets that are searched in the time that one more window costs, which is a call: where there are more windows, one is all of the region. */
    #define ESA_WINDOW 1024u
    /* Times that the neighbours of one anchor are looked for in one message; and one more for so many octets of the region. Past it they count as
       found: searching all of it is faster. */
    #define ESA_TRIES 256u
    #define ESA_TRY 128u
    /* Windows of one message. */
    #define ESA_MAX_WAKES 65536u
    /* Octets looked at beside the anchors of one message: some 20 ms. */
    #define ESA_MAX_WORK 16777216u
    #define ESA_UNBOUNDED 0xffffffffu
    static inline int esa_in_set(const uint8_t *set, uint8_t octet) { return set[octet >> 3] >> (octet & 7) & 1; }
    """
    const uint32_t ESA_NEAR
    const uint32_t ESA_WINDOW
    const uint32_t ESA_MAX_WAKES
    const uint32_t ESA_TRIES
    const uint32_t ESA_TRY
    const uint32_t ESA_MAX_WORK
    const uint32_t ESA_UNBOUNDED
    bint esa_in_set(const uint8_t *set, uint8_t octet) noexcept nogil

UNBOUNDED = 0xFFFFFFFF
_ALL = (1 << 256) - 1

Stretch = namedtuple("Stretch", ("least", "most", "octets"))
Stretch.__doc__ = """So many octets (`most` UNBOUNDED: any number), each of a set: bit n of `octets` is set if octet n is one of it."""
Anchor = namedtuple(
    "Anchor", ("pattern", "cased", "regions", "exact", "literals", "shape", "rarest", "before", "heads", "after", "tails", "lead", "trail")
)
Anchor.__doc__ = """What wakes the regular expression that is pattern number `pattern`: one of `literals`, in text as written if `cased`, else in folded text.
If there are none, octets of the sets of `shape`, side by side, at most LONGEST_SHAPE; the four from `rarest` on are looked for.

If `exact`, these are octets of the text that the expression reads. Then one of `heads` stands before the anchor, with `before` between
them, and one of `tails` behind it, unless there are none; and a match begins `lead` before it and ends `trail` behind it.
"""

_STRETCH = np.dtype([("least", "u4"), ("most", "u4"), ("octets", "u4")])
_ANCHOR = np.dtype([
    ("pattern", "u4"), ("regions", "u4"), ("exact", "u4"), ("before", _STRETCH), ("heads", "u4"), ("heads_end", "u4"), ("head_octets", "u4"),
    ("after", _STRETCH), ("tails", "u4"), ("tails_end", "u4"), ("tail_octets", "u4"), ("lead", _STRETCH), ("trail", _STRETCH),
])
_POSTING = np.dtype([("anchor", "u4"), ("literal", "u4"), ("length", "u4"), ("behind", "u4"), ("ahead", "u4")])


# --- windows --------------------------------------------------------------------------------------------------------------------------

cdef int wakes_init(WakeSink *sink, const AnchorTable *table) noexcept nogil:
    """0, or -1 for no memory."""
    memset(sink, 0, sizeof(WakeSink))
    sink.n_anchors = table.n_anchors
    sink.latest = <uint32_t *> calloc(3 * <size_t> table.n_anchors + 1, sizeof(uint32_t))
    if sink.latest == NULL:
        return -1
    sink.tries = sink.latest + table.n_anchors
    sink.tried = sink.tries + table.n_anchors
    return 0


cdef void wakes_free(WakeSink *sink) noexcept nogil:
    free(sink.latest)
    free(sink.wakes)
    memset(sink, 0, sizeof(WakeSink))


cdef void wakes_trim(WakeSink *sink, size_t kept) noexcept nogil:
    if sink.cap_wakes * sizeof(Wake) > kept:
        free(sink.wakes)
        sink.wakes = NULL
        sink.cap_wakes = 0


cdef int _add(WakeSink *sink, uint32_t anchor, uint32_t region, uint32_t n, uint32_t start, uint32_t end) noexcept nogil:
    """Add a window, or widen the one before it; where there are very many, it is all of the region. 0, or -1 for no memory."""
    cdef uint32_t latest = sink.latest[anchor], capacity, times = 0
    cdef Wake *row
    cdef void *moved
    if latest and sink.wakes[latest - 1].region == region:
        row = &sink.wakes[latest - 1]
        if row.times > n // ESA_WINDOW:
            row.start, row.end = 0, ESA_UNBOUNDED
            return 0
        if start <= row.end and row.start <= end:
            row.start = min(row.start, start)
            row.end = max(row.end, end)
            return 0
        times = row.times + 1
    if sink.n_wakes == ESA_MAX_WAKES:
        sink.capped = True
        return 0
    if sink.n_wakes == sink.cap_wakes:
        capacity = max(2 * sink.cap_wakes, <uint32_t> 64)
        moved = realloc(sink.wakes, capacity * sizeof(Wake))
        if moved == NULL:
            return -1
        sink.wakes = <Wake *> moved
        sink.cap_wakes = capacity
    sink.wakes[sink.n_wakes] = Wake(anchor, region, start, end, times)
    sink.n_wakes += 1
    sink.latest[anchor] = sink.n_wakes
    return 0


cdef inline bint _ends_at(const AnchorTable *table, uint32_t first, uint32_t last, const uint8_t *text, uint32_t end) noexcept nogil:
    cdef uint32_t i, length
    for i in range(first, last):
        length = table.offsets[i + 1] - table.offsets[i]
        if length <= end and memcmp(table.blob + table.offsets[i], text + end - length, length) == 0:
            return True
    return False


cdef inline bint _begins_at(const AnchorTable *table, uint32_t first, uint32_t last, const uint8_t *text, uint32_t n, uint32_t start) noexcept nogil:
    cdef uint32_t i, length
    for i in range(first, last):
        length = table.offsets[i + 1] - table.offsets[i]
        if length <= n - start and memcmp(table.blob + table.offsets[i], text + start, length) == 0:
            return True
    return False


cdef bint _has_head(const AnchorTable *table, WakeSink *sink, const EsaAnchor *anchor, const uint8_t *text, uint32_t start) noexcept nogil:
    """Whether a head may stand before text[start]."""
    cdef const uint8_t *octets = table.sets + 32 * anchor.before.octets
    cdef const uint8_t *ends = table.sets + 32 * anchor.head_octets
    cdef uint32_t distance = 0, most = min(anchor.before.most, start)
    while distance < ESA_NEAR:
        if start == distance:
            break
        if distance >= anchor.before.least and esa_in_set(ends, text[start - distance - 1]) and _ends_at(
            table, anchor.heads, anchor.heads_end, text, start - distance
        ):
            sink.work += distance
            return True
        if distance == most or not esa_in_set(octets, text[start - distance - 1]):
            break
        distance += 1
    sink.work += distance
    return distance == ESA_NEAR


cdef bint _has_tail(const AnchorTable *table, WakeSink *sink, const EsaAnchor *anchor, const uint8_t *text, uint32_t n, uint32_t end) noexcept nogil:
    """Whether a tail may stand behind text[:end]."""
    cdef const uint8_t *octets = table.sets + 32 * anchor.after.octets
    cdef const uint8_t *begins = table.sets + 32 * anchor.tail_octets
    cdef uint32_t distance = 0, most = min(anchor.after.most, n - end)
    while distance < ESA_NEAR:
        if end + distance == n:
            break
        if distance >= anchor.after.least and esa_in_set(begins, text[end + distance]) and _begins_at(
            table, anchor.tails, anchor.tails_end, text, n, end + distance
        ):
            sink.work += distance
            return True
        if distance == most or not esa_in_set(octets, text[end + distance]):
            break
        distance += 1
    sink.work += distance
    return distance == ESA_NEAR


cdef uint32_t _first_octet(const AnchorTable *table, WakeSink *sink, const EsaStretch *lead, const uint8_t *text, uint32_t start) noexcept nogil:
    cdef const uint8_t *octets = table.sets + 32 * lead.octets
    cdef uint32_t distance = 0, most = min(lead.most, start)
    while distance < most and distance < ESA_NEAR and esa_in_set(octets, text[start - distance - 1]):
        distance += 1
    sink.work += distance
    return start - (most if distance == ESA_NEAR else distance)


cdef uint32_t _last_octet(
    const AnchorTable *table, WakeSink *sink, const EsaStretch *trail, const uint8_t *text, uint32_t n, uint32_t end
) noexcept nogil:
    cdef const uint8_t *octets = table.sets + 32 * trail.octets
    cdef uint32_t distance = 0, most = min(trail.most, n - end)
    while distance < most and distance < ESA_NEAR and esa_in_set(octets, text[end + distance]):
        distance += 1
    sink.work += distance
    return end + (most if distance == ESA_NEAR else distance)


cdef bint is_spent(WakeSink *sink) noexcept nogil:
    """Whether so much was looked at that the message is capped."""
    if sink.work >= ESA_MAX_WORK:
        sink.capped = True
    return sink.capped


cdef bint is_awake(const WakeSink *sink, uint32_t number, uint32_t region, uint32_t n) noexcept nogil:
    """Whether all of a region of n octets is a window of this anchor already."""
    cdef uint32_t latest = sink.latest[number]
    return latest and sink.wakes[latest - 1].region == region and sink.wakes[latest - 1].start == 0 and sink.wakes[latest - 1].end >= n


cdef int wake_anchor(
    const AnchorTable *table, WakeSink *sink, uint32_t number, uint32_t region, const uint8_t *text, uint32_t n, uint32_t start, uint32_t end
) noexcept nogil:
    """An anchor stands at text[start:end] of a region: add the window, if its neighbours may stand there too. 0, or -1 for no memory."""
    cdef const EsaAnchor *anchor = &table.anchors[number]
    if not anchor.exact:
        return _add(sink, number, region, n, 0, ESA_UNBOUNDED)  # of whatever text it reads
    if sink.tries[number] == 0:
        sink.tried[sink.n_tried] = number
        sink.n_tried += 1
    if sink.tries[number] > ESA_TRIES + n // ESA_TRY:
        return _add(sink, number, region, n, 0, ESA_UNBOUNDED)
    sink.tries[number] += 1
    if anchor.heads < anchor.heads_end and not _has_head(table, sink, anchor, text, start):
        return 0
    if anchor.tails < anchor.tails_end and not _has_tail(table, sink, anchor, text, n, end):
        return 0
    return _add(
        sink, number, region, n, _first_octet(table, sink, &anchor.lead, text, start), _last_octet(table, sink, &anchor.trail, text, n, end)
    )


cdef int wake(
    const AnchorTable *table, WakeSink *sink, uint32_t trigger, uint32_t region, uint32_t kind, const uint8_t *text, uint32_t n, uint32_t start
) noexcept nogil:
    """The text of a trigger stands at text[start] of a region of this kind: add what may match there. 0, or -1 for no memory."""
    cdef uint32_t i, end, number
    cdef const Posting *posting
    if start >= n:               # an image may look for what stands between regions
        return 0
    for i in range(table.starts[trigger], table.starts[trigger + 1]):
        if is_spent(sink):
            return 0
        posting = &table.postings[i]
        sink.work += 2
        end = start + posting.length
        if start > 0 and not esa_in_set(table.sets + 32 * posting.behind, text[start - 1]):
            continue
        if end < n and not esa_in_set(table.sets + 32 * posting.ahead, text[end]):
            continue
        sink.work += 8
        number = posting.anchor
        if not table.anchors[number].regions >> kind & 1 or is_awake(sink, number, region, n):
            continue
        # white space was joined where it was found
        if table.anchors[number].exact and (
            end > n or memcmp(table.blob + table.offsets[posting.literal], text + start, posting.length) != 0
        ):
            continue
        if wake_anchor(table, sink, number, region, text, n, start, end) < 0:
            return -1
    return 0


cdef inline bint _precedes(const Wake *a, const Wake *b) noexcept nogil:
    if a.anchor != b.anchor:
        return a.anchor < b.anchor
    return a.region < b.region or (a.region == b.region and a.start < b.start)


cdef void sort_wakes(WakeSink *sink) noexcept nogil:
    """By expression, region and place, none overlapping; afterwards the sink is ready for the next message, but for its rows."""
    cdef uint32_t gap = 1, i, j, kept = 0
    cdef Wake row
    cdef Wake *before
    for i in range(sink.n_wakes):
        sink.latest[sink.wakes[i].anchor] = 0
    for i in range(sink.n_tried):
        sink.tries[sink.tried[i]] = 0
    sink.n_tried = 0
    while gap < sink.n_wakes // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, sink.n_wakes):
            row = sink.wakes[i]
            j = i
            while j >= gap and _precedes(&row, &sink.wakes[j - gap]):
                sink.wakes[j] = sink.wakes[j - gap]
                j -= gap
            sink.wakes[j] = row
        gap = gap // 3
    for i in range(sink.n_wakes):
        row = sink.wakes[i]
        before = &sink.wakes[kept - 1] if kept else NULL
        if before != NULL and before.anchor == row.anchor and before.region == row.region and row.start <= before.end:
            before.end = max(before.end, row.end)
        else:
            sink.wakes[kept] = row
            kept += 1
    sink.n_wakes = kept
    sink.work = 0


# --- building -------------------------------------------------------------------------------------------------------------------------

def triggers_of(anchors, sets):
    """The texts to look for, as {(text, whether case counts): its number}, and the sections that tell what each of them wakes; adds to {set: its number}."""
    triggers, postings = {}, []
    literals = []

    def listed(texts):
        start = len(literals)
        literals.extend(texts)
        return start, len(literals)

    def set_of(octets):
        return sets.setdefault(octets, len(sets))

    def stretch(given):
        return (given.least, min(given.most, UNBOUNDED), set_of(given.octets))

    rows = np.zeros(len(anchors), _ANCHOR)
    for number, anchor in enumerate(anchors):
        first, last = listed(anchor.literals)
        heads, tails = listed(anchor.heads), listed(anchor.tails)
        head_octets, tail_octets = _octets([text[len(text) - 1] for text in anchor.heads]), _octets([text[0] for text in anchor.tails])
        behind, ahead = set_of(_beside(anchor, anchor.before, head_octets, anchor.lead)), set_of(_beside(anchor, anchor.after, tail_octets, anchor.trail))
        for literal in range(first, last):
            trigger = triggers.setdefault((literals[literal], bool(anchor.cased)), len(triggers))
            postings.append((trigger, number, literal, len(literals[literal]), behind, ahead))
        rows[number] = (
            anchor.pattern, anchor.regions, anchor.exact, stretch(anchor.before), *heads, set_of(head_octets), stretch(anchor.after), *tails, set_of(tail_octets),
            stretch(anchor.lead), stretch(anchor.trail),
        )
    postings.sort()
    starts = np.zeros(len(triggers) + 1, np.uint32)
    starts[1:] = np.cumsum(np.bincount([trigger for trigger, *_ in postings], minlength=len(triggers))) if postings else 0
    offsets = np.zeros(len(literals) + 1, np.uint32)
    offsets[1:] = np.cumsum([len(text) for text in literals])
    return triggers, {
        "anchors": rows.view(np.uint8), "triggers": starts, "postings": np.array([tuple(posting) for _, *posting in postings], _POSTING),
        "literals": np.frombuffer(b"".join(literals), np.uint8), "literal_ends": offsets,
    }


def _beside(anchor, stretch, ends, reach):
    """Of what set the octet beside a literal must be."""
    if not anchor.exact:
        return _ALL
    if ends:                     # there are neighbours
        return stretch.octets if stretch.least else ends | (stretch.octets if stretch.most else 0)
    return reach.octets if reach.least else _ALL


def _octets(numbers):
    octets = 0
    for number in numbers:
        octets |= 1 << number
    return octets


cdef int attach_anchors(AnchorTable *table, dict sections, uint32_t n_patterns) except -1:
    """Point into sections, after having looked whether all that is followed stays in them."""
    cdef const uint32_t[::1] numbers
    cdef const uint8_t[::1] octets
    memset(table, 0, sizeof(AnchorTable))
    anchors, starts = _section(sections, "anchors", _ANCHOR), _section(sections, "triggers", np.uint32)
    postings, literals = _section(sections, "postings", _POSTING), _section(sections, "literals", np.uint8)
    offsets, sets = _section(sections, "literal_ends", np.uint32), _section(sections, "sets", np.uint8)
    for name, ends, size in (("triggers", starts, len(postings)), ("literal_ends", offsets, len(literals))):
        _require(len(ends) > 0 and ends[0] == 0 and (np.diff(ends.astype(np.int64)) >= 0).all(), name, "does not rise")
        _require(int(ends[len(ends) - 1]) == size, name, "does not end with what it tells of")
    if len(anchors) == 0:
        _require(len(starts) == 1, "triggers", "wake what does not exist")
        return 0
    n_literals, n_sets = len(offsets) - 1, len(sets) // 32
    _require((anchors["pattern"] < n_patterns).all(), "anchors", "name patterns that do not exist")
    for name in ("heads", "tails"):
        _require(
            (anchors[name] <= anchors[f"{name}_end"]).all() and (anchors[f"{name}_end"] <= n_literals).all(), "anchors", "name literals that do not exist"
        )
    for used in (*(anchors[name]["octets"] for name in ("before", "after", "lead", "trail")), anchors["head_octets"], anchors["tail_octets"]):
        _require((used < n_sets).all(), "anchors", "name sets that do not exist")
    _require((postings["anchor"] < len(anchors)).all() and (postings["literal"] < n_literals).all(), "postings", "name what does not exist")
    _require((postings["behind"] < n_sets).all() and (postings["ahead"] < n_sets).all(), "postings", "name sets that do not exist")
    _require((postings["length"] == np.diff(offsets)[postings["literal"]]).all(), "postings", "have literals of another length")
    octets = sections["anchors"]
    table.n_anchors, table.anchors = <uint32_t> len(anchors), <const EsaAnchor *> &octets[0]
    numbers = starts
    table.n_triggers, table.starts = <uint32_t> (len(starts) - 1), &numbers[0]
    numbers = offsets
    table.offsets = &numbers[0]
    octets = sets
    table.sets = &octets[0]
    if len(postings):
        octets = sections["postings"]
        table.postings = <const Posting *> &octets[0]
    if len(literals):
        octets = literals
        table.blob = &octets[0]
    return 0


def _section(sections, name, kind):
    _require(name in sections, name, "is missing")
    _require(sections[name].nbytes % np.dtype(kind).itemsize == 0, name, "has a broken last entry")
    return sections[name].view(kind)


def _require(holds, section, fault):
    if not holds:
        raise ValueError(f"section {section}: {fault}")
