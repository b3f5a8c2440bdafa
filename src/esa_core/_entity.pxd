"""Character references and names of HTML. Called by _html, _link, _look, _sheet and _colour."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef size_t decode_reference(const uint8_t *source, size_t length, bint in_attribute, uint8_t *out, uint32_t *written,
                             bint *odd) noexcept nogil
cdef size_t decode_value(const uint8_t *source, size_t length, uint8_t *out, size_t room, uint32_t *odd) noexcept nogil
cdef uint32_t find_element(const uint8_t *name, size_t length) noexcept nogil
cdef uint32_t look_up(const uint8_t *name, size_t length, uint32_t mask, const uint16_t *slots, const uint32_t *starts,
                      const uint8_t *lengths, const uint8_t *pool) noexcept nogil
