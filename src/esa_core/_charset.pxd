"""Character sets: label → number, octets in it → UTF-8. Called by _mime (labels), _field and _text (conversion)."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from esa_core._types cimport Buffer

cdef enum:
    CHARSET_ABSENT = 0           # no label: UTF-8 if valid, else windows-1252
    CHARSET_ASCII = 1            # as CHARSET_ABSENT: clients guess when octets over 127 stand in it
    CHARSET_UTF8 = 2
    CHARSET_WINDOWS_1252 = 3     # ISO-8859-1 too (WHATWG Encoding Standard 4.2)
    CHARSET_UNKNOWN = 4          # a label nobody knows: as CHARSET_ABSENT
    CHARSET_UTF16 = 5
    CHARSET_UTF16LE = 6
    CHARSET_UTF16BE = 7
    CHARSET_UTF32 = 8
    CHARSET_UTF32LE = 9
    CHARSET_UTF32BE = 10
    CHARSET_UTF7 = 11
    CHARSET_GB18030 = 12
    CHARSET_BIG5 = 13
    CHARSET_EUC_KR = 14
    CHARSET_SHIFT_JIS = 15
    CHARSET_EUC_JP = 16
    CHARSET_JOHAB = 17
    CHARSET_SHIFT_JIS_2004 = 18
    CHARSET_EUC_JIS_2004 = 19
    CHARSET_ISO_2022_JP = 20
    CHARSET_ISO_2022_KR = 21
    CHARSET_HZ = 22
    CHARSET_SINGLE = 32          # the first of the single-byte tables

cdef uint32_t find_charset(const uint8_t *label, size_t length) noexcept nogil
cdef const char *charset_name(uint32_t charset) noexcept nogil
cdef int convert(uint32_t charset, const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil
