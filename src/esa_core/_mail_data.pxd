"""The decoder of mail data, for `_smtp`."""

from libc.stdint cimport uint8_t, uint64_t

cdef enum:
    # where the decoder stands in the stream (Decoder.place)
    AT_LINE = 0                  # first octet of a line
    AT_DOT = 1                   # a dot was the first octet of the line; it is not content
    AT_DOT_CR = 2                # that dot was followed by CR
    IN_TEXT = 3
    AT_CR = 4                    # a CR that is not yet known to begin CRLF; not yet written

cdef struct Decoder:
    int place
    bint bare                    # the previous line ended in a bare LF
    bint chunked                 # the octets come by BDAT: a dot is no sign, and no line ends them (RFC 3030)
    uint64_t bare_line_feeds
    uint64_t stray_returns       # CRs that no LF follows
    uint64_t nul_octets

# Decode source[0:n] to target (room for 2 * n + 2 octets). Returns octets read; *written octets were written; *ended is set at end of data.
cdef size_t decode_mail_data(Decoder *d, const uint8_t *source, size_t n, uint8_t *target, size_t *written, bint *ended) noexcept nogil

# The last octet has been read: write what was held back (room for 3 octets), and the line end that the last line lacks. Returns octets written.
cdef size_t finish_mail_data(Decoder *d, uint8_t *target) noexcept nogil
