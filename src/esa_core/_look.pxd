"""How the text inside an element looks. Called by _html for elements that may look other than what is around them."""

from libc.stdint cimport uint32_t

from esa_core._reader cimport Reader
from esa_core._style cimport Look

cdef int read_look(Reader *reader, uint32_t tag) noexcept nogil
