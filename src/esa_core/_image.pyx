"""Compiled matchers as one flat block of octets: sections found by name, a version, a checksum; built in memory or mapped from a file.

    0   8  "ESAMATCH"
    8   4  version of the layout     12  4  the number 0x01020304 as this machine writes it
    16  8  octets of the whole       24  8  checksum of all but these eight octets
    32  4  number of sections        36 28  zeros
    64 32  for each section: name (16, padded with zeros), offset, octets

Sections begin at multiples of 64. Whoever reads one checks what stands in it; this module answers that it is what was written.
"""

import numpy as np

from libc.stdint cimport uint8_t, uint64_t

VERSION = 3                      # of what the sections mean, too: an older image is built again, not converted
_MAGIC, _ORDER = b"ESAMATCH", 0x01020304
_HEAD = np.dtype([("magic", "S8"), ("version", "u4"), ("order", "u4"), ("size", "u8"), ("checksum", "u8"), ("sections", "u4"), ("zeros", "V28")])
_ENTRY = np.dtype([("name", "S16"), ("offset", "u8"), ("size", "u8")])

cdef extern from *:
    """
    #include <string.h>
    /* Four independent lanes of multiply and rotate; guards against damage, not against forgery. */
    static uint64_t esa_checksum(const uint8_t *p, size_t n) {
        uint64_t lanes[4] = {1, 2, 3, 4}, word, sum = n;
        size_t at = 0, k;
        for (; at + 32 <= n; at += 32)
            for (k = 0; k < 4; k++) {
                memcpy(&word, p + at + 8 * k, 8);
                lanes[k] = (lanes[k] ^ word) * 0x9E3779B97F4A7C15ull;
                lanes[k] ^= lanes[k] >> 29;
            }
        for (; at < n; at++) lanes[at & 3] = ((lanes[at & 3] ^ p[at]) * 0x9E3779B97F4A7C15ull) ^ at;
        for (k = 0; k < 4; k++) sum = (sum ^ lanes[k] ^ (lanes[k] >> 32)) * 0xD6E8FEB86659FD93ull;
        return sum ^ (sum >> 32);
    }
    """
    uint64_t esa_checksum(const uint8_t *p, size_t n) noexcept nogil


cdef uint64_t _sum(const uint8_t[::1] octets):
    """The checksum, with zeros where it stands itself."""
    cdef uint64_t head, body
    with nogil:
        head = esa_checksum(&octets[0], 24)
        body = esa_checksum(&octets[32], octets.shape[0] - 32)
    return head * 31 + body


def pack(sections):
    """One read-only array of octets that holds the named arrays (names of at most 16 ASCII characters)."""
    arrays = {name: np.ascontiguousarray(array).reshape(-1).view(np.uint8) for name, array in sections.items()}
    table = np.zeros(len(arrays), _ENTRY)
    offset = (64 + table.nbytes + 63) // 64 * 64
    for number, (name, array) in enumerate(arrays.items()):
        table[number] = (name.encode("ascii"), offset, array.nbytes)
        offset += (array.nbytes + 63) // 64 * 64
    image = np.zeros(offset, np.uint8)
    head = image[:64].view(_HEAD)
    head["magic"], head["version"], head["order"], head["size"], head["sections"] = _MAGIC, VERSION, _ORDER, offset, len(arrays)
    image[64:64 + table.nbytes] = table.view(np.uint8)
    for row, array in zip(table, arrays.values()):
        image[int(row["offset"]):int(row["offset"]) + array.nbytes] = array
    head["checksum"] = _sum(image)
    image.flags.writeable = False
    return image


def unpack(image):
    """{name: uint8 array, a view} of a contiguous buffer. Raises ValueError that says what is wrong and at which octet."""
    octets = np.frombuffer(image, np.uint8)
    if len(octets) < 64:
        raise ValueError(f"octet {len(octets)}: the image ends within its head of 64 octets")
    head = octets[:64].view(_HEAD)[0]
    if head["magic"] != _MAGIC:
        raise ValueError("octet 0: this is no compiled matcher")
    if head["order"] != _ORDER:
        raise ValueError("octet 12: the image was made on a machine of another byte order")
    if head["version"] != VERSION:
        raise ValueError(f"octet 8: the image has layout {head['version']}, this program reads layout {VERSION}")
    if head["size"] != len(octets):
        raise ValueError(f"octet 16: the image says that it has {head['size']} octets, it has {len(octets)}")
    if head["checksum"] != _sum(octets):
        raise ValueError("octet 24: the checksum differs, the image is damaged")
    if int(head["sections"]) * 32 + 64 > len(octets):
        raise ValueError("octet 32: the table of sections is longer than the image")
    sections = {}
    for number, row in enumerate(octets[64:64 + 32 * int(head["sections"])].view(_ENTRY)):
        start, size = int(row["offset"]), int(row["size"])
        if start % 64 or start + size > len(octets):
            raise ValueError(f"octet {64 + 32 * number}: section {row['name']!r} does not stand in the image")
        sections[row["name"].decode("ascii", "replace")] = octets[start:start + size]
    return sections
