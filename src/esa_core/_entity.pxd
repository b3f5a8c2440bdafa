"""Character references and names of HTML. Called by _html and _style."""

from libc.stdint cimport uint8_t, uint32_t

cdef size_t decode_reference(const uint8_t *source, size_t length, bint in_attribute, uint8_t *out, uint32_t *written,
                             bint *odd) noexcept nogil
cdef size_t decode_value(const uint8_t *source, size_t length, uint8_t *out, size_t room, uint32_t *odd) noexcept nogil
cdef uint32_t find_element(const uint8_t *name, size_t length) noexcept nogil
cdef uint32_t element_bits(uint32_t tag) noexcept nogil
cdef uint32_t find_attribute(const uint8_t *name, size_t length) noexcept nogil
