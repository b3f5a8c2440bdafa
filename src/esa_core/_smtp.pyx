"""The server's half of SMTP without sockets, clock or words: octets in, events out (RFC 5321, 1870, 2920, 6152, 6531).

Callers: `esa.gateway.protocol` feeds it what a connection read and acts on its events; tests feed it anything. It knows no reply text, no
policy and no time.

Law of this file. Everything that moves the session from one state to another stands here, in TRANSITIONS; a missing entry IS the protocol
error. Invariant: however the octets of a session are cut into reads, the same events with the same values come out, and whatever the
octets are, nothing is raised. Where mail data ends is the law of `_mail_data`.

    state       HELO/EHLO  MAIL        RCPT            DATA            RSET    NOOP VRFY EXPN HELP  QUIT
    START       READY      NEED_HELLO  NEED_HELLO      NEED_HELLO      START   START                ENDED
    READY       READY      FROM        NEED_MAIL       NEED_MAIL       READY   READY                ENDED
    FROM        READY      NESTED      TO              NEED_RECIPIENT  READY   FROM                 ENDED
    TO          READY      NESTED      TO              MAIL_DATA       READY   TO                   ENDED
    MAIL_DATA   (octets are mail data until its end, then COMPLETE)
    COMPLETE    (nothing is read until accept(), which leads to READY)

A command moves the state when the caller calls accept(); without it the command was refused and the state stays. RSET, QUIT and the like
cannot be refused.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy

from esa_core._mail_data cimport AT_LINE, Decoder, decode_mail_data
from esa_core._smtp_words cimport (
    PATH_LIMIT, common_form, has_keyword, is_blank, is_foreign, is_hello_name, is_name, is_word, lower, skip_path, verb_of
)

cdef extern from "Python.h":
    int _PyBytes_Resize(PyObject **object, Py_ssize_t size) except -1
    PyObject *PyBytes_FromStringAndSize_new "PyBytes_FromStringAndSize"(const char *start, Py_ssize_t size) except NULL

cdef enum:
    # Octets of a command line with its line end: RFC 5321 section 4.5.3.1.4, and what the parameters of MAIL and RCPT add (RFC 1870, 6531).
    COMMAND_LIMIT = 512
    PATH_COMMAND_LIMIT = 1024
    LINE_BUFFER = 1024
    # Mail data is decoded in slices, so that the room for the worst case (every octet a bare LF) stays small.
    SLICE = 8192
    FIRST_ROOM = 20480
    # Once a message has spilled, it is handed out in pieces of this size, so that many large messages together hold little memory.
    SPILL_PIECE = 262144
    # A refused BDAT chunk up to this size is read and thrown away, and so much mail data past its limit; more ends the session.
    SWALLOW_LIMIT = 1 << 30

cdef enum:
    # states
    S_START = 0
    S_READY = 1
    S_FROM = 2
    S_TO = 3
    S_MAIL_DATA = 4
    S_COMPLETE = 5
    S_ENDED = 6

    # events
    E_NEED_INPUT = 0
    E_HELLO = 1
    E_MAIL = 2
    E_RECIPIENT = 3
    E_DATA = 4
    E_MESSAGE = 5
    E_SPILL = 6
    E_RESET = 7
    E_NOOP = 8
    E_VERIFY = 9
    E_EXPAND = 10
    E_HELP = 11
    E_QUIT = 12
    E_FAULT = 13

    # faults
    F_NONE = 0
    F_NEED_HELLO = 1
    F_NEED_MAIL = 2
    F_NEED_RECIPIENT = 3
    F_NESTED = 4
    F_UNKNOWN = 5
    F_NOT_IMPLEMENTED = 6
    F_LINE_TOO_LONG = 7
    F_BAD_OCTETS = 8
    F_BARE_LINE_FEED = 9
    F_NEED_ARGUMENT = 10
    F_NO_ARGUMENT = 11
    F_BAD_HELLO = 12
    F_MAIL_SYNTAX = 13
    F_RECIPIENT_SYNTAX = 14
    F_BAD_PARAMETER = 15
    F_UNKNOWN_PARAMETER = 16
    F_TOO_LARGE = 17
    F_FOREIGN = 18
    F_CHUNK = 19
    F_ENDLESS = 20

    # columns of the transition table
    V_HELLO = 0
    V_MAIL = 1
    V_RECIPIENT = 2
    V_DATA = 3
    V_RESET = 4
    V_OTHER = 5
    V_QUIT = 6

STATES = ("START", "READY", "FROM", "TO", "MAIL_DATA", "COMPLETE", "ENDED")
EVENTS = (
    "NEED_INPUT", "HELLO", "MAIL", "RECIPIENT", "DATA", "MESSAGE", "SPILL", "RESET", "NOOP", "VERIFY", "EXPAND", "HELP", "QUIT", "FAULT",
)
FAULTS = (
    "NONE", "NEED_HELLO", "NEED_MAIL", "NEED_RECIPIENT", "NESTED", "UNKNOWN", "NOT_IMPLEMENTED", "LINE_TOO_LONG", "BAD_OCTETS",
    "BARE_LINE_FEED", "NEED_ARGUMENT", "NO_ARGUMENT", "BAD_HELLO", "MAIL_SYNTAX", "RECIPIENT_SYNTAX", "BAD_PARAMETER", "UNKNOWN_PARAMETER",
    "TOO_LARGE", "FOREIGN", "CHUNK", "ENDLESS",
)

# TRANSITIONS[state][column]: the next state, or a fault with its sign turned.
cdef int[4][7] TRANSITIONS = [
    [S_READY, -F_NEED_HELLO, -F_NEED_HELLO, -F_NEED_HELLO, S_START, S_START, S_ENDED],
    [S_READY, S_FROM, -F_NEED_MAIL, -F_NEED_MAIL, S_READY, S_READY, S_ENDED],
    [S_READY, -F_NESTED, S_TO, -F_NEED_RECIPIENT, S_READY, S_FROM, S_ENDED],
    [S_READY, -F_NESTED, S_TO, S_MAIL_DATA, S_READY, S_TO, S_ENDED],
]


@cython.final
cdef class Machine:
    """One session. `feed` reads octets up to the next event; attributes hold the event's values until the next call.

    Settings: message_size, octets of mail data allowed (0: no limit); spill, octets after which mail data is handed out in pieces
    (0: never); reject_bare: a command line that ends in a bare LF is the fault BARE_LINE_FEED (in mail data it is only counted).
    """

    cdef:
        readonly int state
        readonly Py_ssize_t position          # first octet that feed() did not read
        readonly bint extended                # the session began with EHLO
        readonly int fault                    # of E_FAULT
        readonly str verb                     # of E_HELLO: HELO or EHLO
        readonly str argument                 # of HELLO, NOOP, VERIFY, EXPAND, HELP; surrogates stand for octets that are not UTF-8
        readonly str path                     # of MAIL and RECIPIENT: addr-spec in the common form, "" for <>; None: read raw_path
        readonly bytes raw_path               # the path with its angle brackets, if it is not of the common form
        readonly tuple parameters             # of MAIL and RECIPIENT, as given
        readonly uint64_t declared_size
        readonly bint eight_bit
        readonly bint smtputf8
        readonly uint64_t size                # octets of decoded mail data so far
        readonly uint64_t received            # octets of mail data read so far, as sent
        readonly bint oversized               # more mail data than message_size: the rest is thrown away
        readonly uint64_t bytes_read          # of the whole session
        public uint64_t message_size
        public uint64_t spill
        public bint reject_bare
        bint discarding
        bint spilled
        int next_state
        Decoder decoder
        PyObject *content                     # a bytes object that only we hold, filled up to content_length
        Py_ssize_t content_length
        Py_ssize_t room
        uint64_t swallow                      # octets of a refused chunk still to come
        uint8_t[LINE_BUFFER] line
        Py_ssize_t line_length
        bint line_too_long
        bint spoken                           # a command line has been read

    def __cinit__(self):
        self.argument = ""
        self.parameters = ()

    def __dealloc__(self):
        Py_XDECREF(self.content)

    @property
    def bare_line_feeds(self):
        return self.decoder.bare_line_feeds

    @property
    def stray_returns(self):
        return self.decoder.stray_returns

    @property
    def nul_octets(self):
        return self.decoder.nul_octets

    @property
    def odd_octets(self):
        """Bare LFs, stray CRs and NULs of the mail data."""
        return self.decoder.bare_line_feeds + self.decoder.stray_returns + self.decoder.nul_octets

    @property
    def held(self):
        """Octets of memory that mail data takes now."""
        return self.room

    @property
    def line_is_open(self):
        """A command line has begun and not ended."""
        return self.line_length > 0 or self.line_too_long

    def feed(self, source, Py_ssize_t start=0, Py_ssize_t stop=-1):
        """Read source[start:stop] up to the next event and return its number; `position` is where to go on. MemoryError only."""
        cdef Py_buffer view
        cdef int event
        PyObject_GetBuffer(source, &view, PyBUF_SIMPLE)
        try:
            if stop < 0 or stop > view.len:
                stop = view.len
            if start < 0 or start > stop:
                start = stop
            event = self.advance(<const uint8_t *> view.buf, start, stop)
        finally:
            PyBuffer_Release(&view)
        self.bytes_read += self.position - start
        return event

    def accept(self):
        """Accept the command of the last event; after COMPLETE: the mail data has been answered."""
        if self.state == S_COMPLETE:
            self.forget_message()
            self.state = S_READY
        elif self.next_state >= 0:
            self.state = self.next_state
            if self.state == S_READY:
                self.forget_message()
            elif self.state == S_MAIL_DATA:
                self.decoder.place = AT_LINE
        self.next_state = -1

    def discard(self):
        """Throw away the mail data so far and to come; its end is still an event."""
        self.discarding = True
        self.drop_content()

    def take_content(self):
        """Hand out the mail data held, as bytes: all of it, or what came since the last SPILL."""
        cdef PyObject *content = self.content
        cdef Py_ssize_t length = self.content_length
        if content == NULL or length == 0:
            self.drop_content()
            return b""
        self.content = NULL
        self.content_length = 0
        self.room = 0
        if length != len(<bytes> content):
            _PyBytes_Resize(&content, length)
        result = <bytes> content
        Py_XDECREF(content)
        return result

    cdef void drop_content(self) noexcept:
        Py_XDECREF(self.content)
        self.content = NULL
        self.content_length = 0
        self.room = 0

    cdef void forget_message(self) noexcept:
        self.drop_content()
        self.size = 0
        self.received = 0
        self.oversized = False
        self.discarding = False
        self.spilled = False
        self.decoder.place = AT_LINE
        self.decoder.bare = False
        self.decoder.bare_line_feeds = 0
        self.decoder.stray_returns = 0
        self.decoder.nul_octets = 0

    cdef int advance(self, const uint8_t *p, Py_ssize_t start, Py_ssize_t stop) except -1:
        cdef Py_ssize_t n, length
        cdef const uint8_t *feed
        cdef bint bare
        self.position = start
        if self.state >= S_MAIL_DATA:
            if self.state == S_MAIL_DATA:
                return self.read_mail_data(p, stop)
            return E_NEED_INPUT
        if self.swallow:
            n = stop - start
            if <uint64_t> n > self.swallow:
                n = <Py_ssize_t> self.swallow
            self.swallow -= n
            self.position += n
            start += n
        n = stop - start
        if n == 0:
            return E_NEED_INPUT
        feed = <const uint8_t *> memchr(p + start, 10, n)
        if feed == NULL:
            self.keep_line(p + start, n)
            self.position = stop
            return E_NEED_INPUT
        length = feed - (p + start)
        self.position = start + length + 1
        if self.line_length or self.line_too_long:
            self.keep_line(p + start, length)
            p = self.line
            length = self.line_length
            self.line_length = 0
        else:
            p += start
            self.line_too_long = length > LINE_BUFFER
        bare = length == 0 or p[length - 1] != 13
        if not bare:
            length -= 1
        if self.line_too_long:
            self.line_too_long = False
            self.spoken = True
            return self.fail(F_LINE_TOO_LONG)
        if bare and self.reject_bare:
            return self.fail(F_BARE_LINE_FEED)
        return self.read_command(p, length)

    cdef void keep_line(self, const uint8_t *p, Py_ssize_t n) noexcept:
        if n > LINE_BUFFER - self.line_length:
            self.line_too_long = True
            n = LINE_BUFFER - self.line_length
        memcpy(self.line + self.line_length, p, n)
        self.line_length += n

    cdef int fail(self, int fault) noexcept:
        self.fault = fault
        self.next_state = -1
        return E_FAULT

    cdef int step(self, int column, int event) noexcept:
        cdef int to = TRANSITIONS[self.state][column]
        if to < 0:
            return self.fail(-to)
        self.next_state = to
        return event

    cdef int read_command(self, const uint8_t *p, Py_ssize_t n) except -1:
        cdef Py_ssize_t i, limit = COMMAND_LIMIT
        cdef uint32_t verb = 0
        cdef bint first = not self.spoken
        self.spoken = True
        for i in range(n):
            if p[i] < 32 and p[i] != 9 or p[i] == 127:
                return self.fail(F_FOREIGN if first and not is_name(p[0]) else F_BAD_OCTETS)
        if n >= 4 and (n == 4 or is_blank(p[4])) and is_name(p[0]) and is_name(p[1]) and is_name(p[2]) and is_name(p[3]):
            verb = verb_of(p)
        if verb == 0x4D41494C or verb == 0x52435054:     # MAIL, RCPT
            limit = PATH_COMMAND_LIMIT
        if n + 2 > limit:
            return self.fail(F_LINE_TOO_LONG)
        while n and is_blank(p[n - 1]):
            n -= 1
        if first and is_foreign(p, n):
            return self.fail(F_FOREIGN)
        if verb == 0:
            i = 0
            while i < n and not is_blank(p[i]):
                i += 1
            return self.fail(F_NOT_IMPLEMENTED if is_word(p, i, b"STARTTLS", 8) else F_UNKNOWN)
        i = 4
        while i < n and is_blank(p[i]):
            i += 1
        if verb == 0x4D41494C:
            return self.read_mail(p, i, n)
        if verb == 0x52435054:
            return self.read_recipient(p, i, n)
        return self.read_plain(verb, p + i, n - i)

    cdef int read_plain(self, uint32_t verb, const uint8_t *p, Py_ssize_t n) except -1:
        """Every verb but MAIL and RCPT; p[0:n] is its argument."""
        cdef int event
        if verb == 0x44415441:                           # DATA
            if TRANSITIONS[self.state][V_DATA] >= 0 and n:
                return self.fail(F_NO_ARGUMENT)
            return self.step(V_DATA, E_DATA)
        if verb == 0x45484C4F or verb == 0x48454C4F:     # EHLO, HELO
            if n == 0:
                return self.fail(F_NEED_ARGUMENT)
            if not is_hello_name(p, n):
                return self.fail(F_BAD_HELLO)
            self.extended = verb == 0x45484C4F
            self.verb = "EHLO" if self.extended else "HELO"
            self.argument = PyUnicode_DecodeASCII(<const char *> p, n, NULL)
            return self.step(V_HELLO, E_HELLO)
        if verb == 0x52534554:                           # RSET
            if n:
                return self.fail(F_NO_ARGUMENT)
            self.step(V_RESET, E_RESET)
            self.state = self.next_state
            self.forget_message()
            return E_RESET
        if verb == 0x51554954:                           # QUIT
            if n:
                return self.fail(F_NO_ARGUMENT)
            self.state = S_ENDED
            return E_QUIT
        if verb == 0x4E4F4F50:                           # NOOP
            event = E_NOOP
        elif verb == 0x56524659:                         # VRFY
            event = E_VERIFY
        elif verb == 0x4558504E:                         # EXPN
            event = E_EXPAND
        elif verb == 0x48454C50:                         # HELP
            event = E_HELP
        elif verb == 0x42444154:                         # BDAT
            return self.refuse_chunk(p, n)
        elif (
            verb == 0x41555448 or verb == 0x4554524E or verb == 0x53454E44 or verb == 0x534F4D4C or verb == 0x53414D4C or verb == 0x5455524E
        ):                                               # AUTH, ETRN, SEND, SOML, SAML, TURN
            return self.fail(F_NOT_IMPLEMENTED)
        else:
            return self.fail(F_UNKNOWN)
        if n == 0 and (event == E_VERIFY or event == E_EXPAND):
            return self.fail(F_NEED_ARGUMENT)
        self.argument = (<bytes> p[:n]).decode("utf-8", "surrogateescape")
        self.next_state = -1
        return event

    cdef int refuse_chunk(self, const uint8_t *p, Py_ssize_t n) noexcept:
        """BDAT is not offered; its octets are still no commands (RFC 3030 section 2): swallow them, or end the session."""
        cdef Py_ssize_t i = 0
        cdef uint64_t size = 0
        while i < n and 48 <= p[i] <= 57:
            size = size * 10 + (p[i] - 48)
            if size > SWALLOW_LIMIT:
                return self.fail(F_CHUNK)
            i += 1
        if i == 0 or (i < n and not is_blank(p[i])):
            return self.fail(F_CHUNK)
        self.swallow = size
        return self.fail(F_NOT_IMPLEMENTED)

    cdef Py_ssize_t read_path(self, const uint8_t *p, Py_ssize_t i, Py_ssize_t n) except -2:
        """Read the path at p[i]; sets path or raw_path. Returns the place behind it, -1 if there is none."""
        cdef Py_ssize_t length, at, k
        cdef uint8_t[PATH_LIMIT] text
        while i < n and is_blank(p[i]):
            i += 1
        if i >= n or p[i] != 60:
            return -1
        length = skip_path(p + i, n - i)
        if length < 0 or (i + length < n and not is_blank(p[i + length])):
            return -1
        self.path = None
        self.raw_path = None
        if length == 2:
            self.path = ""
        else:
            at = common_form(p + i + 1, length - 2)
            if at < 0:
                self.raw_path = p[i:i + length]
            else:
                memcpy(text, p + i + 1, at)
                for k in range(at, length - 2):
                    text[k] = lower(p[i + 1 + k])
                self.path = PyUnicode_DecodeASCII(<const char *> text, length - 2, NULL)
        return i + length

    cdef tuple split_parameters(self, const uint8_t *p, Py_ssize_t i, Py_ssize_t n):
        while i < n and is_blank(p[i]):
            i += 1
        if i >= n:
            return ()
        return tuple((<bytes> p[i:n]).decode("utf-8", "surrogateescape").split())

    cdef int read_mail(self, const uint8_t *p, Py_ssize_t i, Py_ssize_t n) except -1:
        cdef int fault, event = self.step(V_MAIL, E_MAIL)
        if event == E_FAULT:
            return event
        if not has_keyword(p, i, n, b"FROM:", 5):
            return self.fail(F_MAIL_SYNTAX)
        i = self.read_path(p, i + 5, n)
        if i < 0:
            return self.fail(F_MAIL_SYNTAX)
        self.declared_size = 0
        self.eight_bit = False
        self.smtputf8 = False
        self.parameters = self.split_parameters(p, i, n)
        if self.parameters:
            fault = self.read_mail_parameters()
            if fault:
                return self.fail(fault)
        return event

    cdef int read_mail_parameters(self) except -1:
        """SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), each once and only after EHLO. Returns a fault or 0."""
        cdef set seen = set()
        if not self.extended:
            return F_UNKNOWN_PARAMETER
        for parameter in self.parameters:
            keyword, equals, value = (<str> parameter).partition("=")
            keyword = (<str> keyword).upper()
            if keyword in seen or (equals and not value):
                return F_BAD_PARAMETER
            seen.add(keyword)
            if keyword == "SIZE":
                if not (<str> value).isascii() or not (<str> value).isdigit() or len(<str> value) > 20:
                    return F_BAD_PARAMETER
                self.declared_size = min(int(value), 0xFFFFFFFFFFFFFFFF)
            elif keyword == "BODY":
                value = (<str> value).upper()
                if value != "7BIT" and value != "8BITMIME":
                    return F_BAD_PARAMETER
                self.eight_bit = value == "8BITMIME"
            elif keyword == "SMTPUTF8":
                if equals:
                    return F_BAD_PARAMETER
                self.smtputf8 = True
            else:
                return F_UNKNOWN_PARAMETER
        return F_TOO_LARGE if self.message_size and self.declared_size > self.message_size else F_NONE

    cdef int read_recipient(self, const uint8_t *p, Py_ssize_t i, Py_ssize_t n) except -1:
        cdef int event = self.step(V_RECIPIENT, E_RECIPIENT)
        if event == E_FAULT:
            return event
        if not has_keyword(p, i, n, b"TO:", 3):
            return self.fail(F_RECIPIENT_SYNTAX)
        i = self.read_path(p, i + 3, n)
        if i < 0 or (self.path is not None and not self.path):
            return self.fail(F_RECIPIENT_SYNTAX)
        self.parameters = self.split_parameters(p, i, n)
        if self.parameters:
            return self.fail(F_UNKNOWN_PARAMETER)
        return event

    cdef int make_room(self, Py_ssize_t more, Py_ssize_t to_come) except -1:
        """Room for `more` octets; grows by doubling, at first to what is at hand."""
        cdef Py_ssize_t room
        if self.room - self.content_length >= more:
            return 0
        room = self.room * 2
        if room < self.content_length + to_come + more:
            room = self.content_length + to_come + more
        if room < FIRST_ROOM:
            room = FIRST_ROOM
        if self.content == NULL:
            self.content = PyBytes_FromStringAndSize_new(NULL, room)
        else:
            self.room = 0                    # should the next line fail, the object is gone
            _PyBytes_Resize(&self.content, room)
        self.room = room
        return 0

    cdef int read_mail_data(self, const uint8_t *p, Py_ssize_t stop) except -1:
        cdef Py_ssize_t n, took
        cdef size_t written
        cdef bint ended = False
        cdef uint8_t *target
        while self.position < stop:
            if self.spill and not self.discarding and self.content_length > <Py_ssize_t> (SPILL_PIECE if self.spilled else self.spill):
                self.spilled = True
                return E_SPILL
            n = stop - self.position
            self.make_room(2 * min(n, SLICE) + 2, n if n < 1 << 18 else 1 << 18)
            n = min(n, SLICE)
            target = <uint8_t *> PyBytes_AS_STRING(<bytes> self.content) + self.content_length
            took = decode_mail_data(&self.decoder, p + self.position, n, target, &written, &ended)
            self.position += took
            self.received += took
            self.size += written
            self.content_length += written
            if self.message_size and self.size > self.message_size:
                self.oversized = True
                self.discarding = True
            if self.discarding:
                self.content_length = 0
                if ended or self.received > self.message_size + SWALLOW_LIMIT:
                    self.drop_content()
            if ended:
                self.state = S_COMPLETE
                self.next_state = -1
                return E_MESSAGE
            if self.discarding and self.received > self.message_size + SWALLOW_LIMIT:
                self.state = S_ENDED
                return self.fail(F_ENDLESS)
        return E_NEED_INPUT
