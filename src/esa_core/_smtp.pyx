"""The server's half of SMTP without sockets, clock or words: octets in, events out (RFC 5321, 1870, 2920, 3030, 3207, 4954, 6152, 6531).

Callers: `esa.gateway.protocol` feeds it what a connection read and acts on its events; tests feed it anything. It knows no reply text, no
policy, no cryptography and no time.

Law of this file. Everything that moves the session from one state to another stands here, in TRANSITIONS; a missing entry IS the protocol
error. Invariant: however the octets of a session are cut into reads, the same events with the same values come out, and whatever the
octets are, nothing is raised. Where mail data ends is the law of `_mail_data`.

    state   HELO/EHLO  MAIL        RCPT        DATA            BDAT            RSET    others  QUIT   STARTTLS    AUTH        XCLIENT
    START   READY      NEED_HELLO  NEED_HELLO  NEED_HELLO      NEED_HELLO      START   START   ENDED  NEED_HELLO  NEED_HELLO  START
    READY   READY      FROM        NEED_MAIL   NEED_MAIL       NEED_MAIL       READY   READY   ENDED  TLS         READY       START
    FROM    READY      NESTED      TO          NEED_RECIPIENT  NEED_RECIPIENT  READY   FROM    ENDED  NESTED      NESTED      NESTED
    TO      READY      NESTED      TO          MAIL_DATA       CHUNK           READY   TO      ENDED  NESTED      NESTED      NESTED
    CHUNKS  READY      NESTED      CHUNKED     CHUNKED         CHUNK           READY   CHUNKS  ENDED  NESTED      NESTED      NESTED

    AUTH       (a line is a RESPONSE, which leads to READY, or by challenge() back here)
    MAIL_DATA  (octets are mail data until its end, then COMPLETE)
    CHUNK      (so many octets as BDAT said are mail data, then COMPLETE if it was the last, else CHUNKS)
    COMPLETE   (nothing is read until accept(), which leads to READY)
    TLS        (nothing is read until restart(), which forgets all and leads to START)

A command moves the state when the caller calls accept(); without it the command was refused and the state stays. RSET, QUIT and the like
cannot be refused. The octets of a chunk are never commands: a chunk that is refused, by a fault or by refuse(), is read and thrown away,
and its transaction is over, so that no message is made of the chunks behind it.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy

from esa_core._mail_data cimport AT_LINE, Decoder, decode_mail_data, finish_mail_data
from esa_core._smtp_content cimport Content
from esa_core._smtp_numbers cimport *
from esa_core._smtp_parameters cimport (
    OFFER_AUTH, OFFER_CHUNKING, OFFER_STARTTLS, OFFER_XCLIENT, MailParameters, RecipientParameters, read_mail_parameters,
    read_recipient_parameters, split_parameters
)
from esa_core._smtp_words cimport (
    PATH_LIMIT, common_form, has_keyword, is_blank, is_foreign, is_hello_name, is_name, is_word, lower, skip_path, text_of,
    verb_of
)

cdef enum:
    # Octets of a command line with its line end: RFC 5321 section 4.5.3.1.4, and with what the parameters of MAIL and RCPT (RFC 1870, 3461,
    # 6531) and AUTH (RFC 4954) add.
    COMMAND_LIMIT = 512
    LONG_COMMAND_LIMIT = 1024
    LINE_BUFFER = 1024
    # Mail data is decoded in slices, so that the room for the worst case (every octet a bare LF) stays small.
    SLICE = 8192
    # Once a message has spilled, it is handed out in pieces of this size, so that many large messages together hold little memory.
    SPILL_PIECE = 262144
    # A refused BDAT chunk up to this size is read and thrown away, and so much mail data past its limit; more ends the session.
    SWALLOW_LIMIT = 1 << 30

STATES = ("START", "READY", "FROM", "TO", "CHUNKS", "AUTH", "MAIL_DATA", "CHUNK", "COMPLETE", "TLS", "ENDED")
EVENTS = (
    "NEED_INPUT", "HELLO", "MAIL", "RECIPIENT", "DATA", "CHUNK", "CHUNK_END", "MESSAGE", "SPILL", "RESET", "NOOP", "VERIFY", "EXPAND",
    "HELP", "QUIT", "STARTTLS", "AUTH", "RESPONSE", "XCLIENT", "FAULT",
)
FAULTS = (
    "NONE", "NEED_HELLO", "NEED_MAIL", "NEED_RECIPIENT", "NESTED", "UNKNOWN", "NOT_IMPLEMENTED", "LINE_TOO_LONG", "BAD_OCTETS",
    "BARE_LINE_FEED", "NEED_ARGUMENT", "NO_ARGUMENT", "BAD_HELLO", "MAIL_SYNTAX", "RECIPIENT_SYNTAX", "BAD_PARAMETER", "UNKNOWN_PARAMETER",
    "TOO_LARGE", "FOREIGN", "CHUNK", "ENDLESS", "CHUNKED", "NEED_CHUNKS", "ALREADY",
)
OFFERS = ("CHUNKING", "BINARYMIME", "DSN", "REQUIRETLS", "AUTH", "STARTTLS", "XCLIENT")  # bit by bit, from the lowest: Machine.offers

# TRANSITIONS[state][column]: the next state, or a fault with its sign turned.
cdef int[5][11] TRANSITIONS = [
    [S_READY, -F_NEED_HELLO, -F_NEED_HELLO, -F_NEED_HELLO, -F_NEED_HELLO, S_START, S_START, S_ENDED, -F_NEED_HELLO, -F_NEED_HELLO, S_START],
    [S_READY, S_FROM, -F_NEED_MAIL, -F_NEED_MAIL, -F_NEED_MAIL, S_READY, S_READY, S_ENDED, S_TLS, S_READY, S_START],
    [S_READY, -F_NESTED, S_TO, -F_NEED_RECIPIENT, -F_NEED_RECIPIENT, S_READY, S_FROM, S_ENDED, -F_NESTED, -F_NESTED, -F_NESTED],
    [S_READY, -F_NESTED, S_TO, S_MAIL_DATA, S_CHUNK, S_READY, S_TO, S_ENDED, -F_NESTED, -F_NESTED, -F_NESTED],
    [S_READY, -F_NESTED, -F_CHUNKED, -F_CHUNKED, S_CHUNK, S_READY, S_CHUNKS, S_ENDED, -F_NESTED, -F_NESTED, -F_NESTED],
]

NO_PARAMETERS = MailParameters()  # never changed


@cython.final
cdef class Machine:
    """One session. `feed` reads octets up to the next event; attributes hold the event's values until the next call.

    Settings: message_size, octets of mail data allowed (0: no limit); spill, octets after which mail data is handed out in pieces
    (0: never); reject_bare: a command line that ends in a bare LF is the fault BARE_LINE_FEED (in mail data it is only counted);
    offers, a bit for each of OFFERS that EHLO lists: what is not offered is not known.
    """

    cdef:
        readonly int state
        readonly Py_ssize_t position          # first octet that feed() did not read
        readonly bint extended                # the session began with EHLO
        readonly int fault                    # of E_FAULT
        readonly str verb                     # of E_HELLO: HELO or EHLO
        readonly str argument                 # of HELLO … HELP, AUTH, RESPONSE, XCLIENT; surrogates stand for octets that are not UTF-8
        readonly str path                     # of MAIL and RECIPIENT: addr-spec in the common form, "" for <>; None: read raw_path
        readonly bytes raw_path               # the path with its angle brackets, if it is not of the common form
        readonly tuple parameters             # of MAIL and RECIPIENT, as given
        readonly MailParameters mail          # parameters of MAIL
        readonly RecipientParameters recipient  # parameters of RECIPIENT, or None
        readonly bint secure                  # inside TLS
        readonly bint authenticated           # AUTH was accepted
        readonly bint last                    # of CHUNK: the last one
        readonly uint64_t chunk               # of CHUNK: its octets; then those still to come
        readonly uint64_t size                # octets of decoded mail data so far
        readonly uint64_t received            # octets of mail data read so far, as sent
        readonly bint oversized               # more mail data than message_size: the rest is thrown away
        public uint64_t message_size
        public uint64_t spill
        public bint reject_bare
        public uint32_t offers
        bint discarding
        bint spilled
        int next_state
        Decoder decoder
        Content content
        uint64_t swallow                      # octets of a refused chunk still to come
        uint8_t[LINE_BUFFER] line
        Py_ssize_t line_length
        bint line_too_long
        bint spoken                           # a command line has been read
        bint authenticating                   # the last event was AUTH or RESPONSE: accept() means that it succeeded

    def __cinit__(self):
        self.content = Content()
        self.argument = ""
        self.parameters = ()
        self.mail = NO_PARAMETERS

    @property
    def oddities(self):
        """Bare LFs, CRs that no LF follows, and NULs of the mail data so far."""
        return self.decoder.bare_line_feeds, self.decoder.stray_returns, self.decoder.nul_octets

    @property
    def held(self):
        """Octets of memory that mail data takes now."""
        return self.content.room

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
        return event

    def accept(self):
        """Accept the command of the last event; after COMPLETE: the mail data has been answered."""
        if self.state == S_COMPLETE:
            self.forget_message()
            self.state = S_READY
        elif self.next_state >= 0:
            self.state = self.next_state
            if self.authenticating:
                self.authenticated = True
            elif self.state <= S_READY:
                self.forget_message()
            elif self.state == S_MAIL_DATA:
                self.decoder.place = AT_LINE
            elif self.state == S_CHUNK:
                self.chunk, self.swallow = self.swallow, 0
                self.decoder.chunked = True
        self.authenticating = False
        self.next_state = -1

    def refuse(self):
        """Refuse the chunk of the last CHUNK or CHUNK_END: its octets are thrown away, its transaction is over."""
        self.state = S_READY
        self.next_state = -1
        self.forget_message()

    def challenge(self):
        """After AUTH or RESPONSE: the next line is a RESPONSE, whatever stands in it."""
        self.state = S_AUTH
        self.authenticating = False
        self.next_state = -1

    def restart(self, *, secure=False):
        """Begin anew: TLS has been agreed on (`secure`, in which case nothing of the clear text counts), or XCLIENT said who the client is."""
        self.forget_message()
        self.state = S_START
        self.next_state = -1
        self.swallow = 0
        self.line_length = 0
        self.line_too_long = self.spoken = self.extended = self.authenticated = self.authenticating = False
        if secure:
            self.secure = True

    def discard(self):
        """Throw away the mail data so far and to come; its end is still an event."""
        self.discarding = True
        self.content.drop()

    def take_content(self):
        """Hand out the mail data held, as bytes: all of it, or what came since the last SPILL."""
        return self.content.take()

    cdef void forget_message(self) noexcept:
        self.content.drop()
        self.size = 0
        self.received = 0
        self.oversized = False
        self.discarding = False
        self.spilled = False
        self.chunk = 0
        self.mail = NO_PARAMETERS
        self.decoder.place = AT_LINE
        self.decoder.bare = False
        self.decoder.chunked = False
        self.decoder.bare_line_feeds = 0
        self.decoder.stray_returns = 0
        self.decoder.nul_octets = 0

    cdef int advance(self, const uint8_t *p, Py_ssize_t start, Py_ssize_t stop) except -1:
        cdef Py_ssize_t n, length
        cdef const uint8_t *feed
        cdef bint bare, response = self.state == S_AUTH
        self.position = start
        self.authenticating = False
        if self.state >= S_MAIL_DATA:
            if self.state == S_MAIL_DATA:
                return self.read_mail_data(p, stop)
            if self.state == S_CHUNK:
                return self.read_chunk(p, stop)
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
        if response:
            self.state = S_READY
        if self.line_too_long:
            self.line_too_long = False
            self.spoken = True
            return self.fail(F_LINE_TOO_LONG)
        if bare and self.reject_bare:
            return self.fail(F_BARE_LINE_FEED)
        if response:
            return self.read_response(p, length)
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

    cdef int read_response(self, const uint8_t *p, Py_ssize_t n) except -1:
        cdef Py_ssize_t i
        for i in range(n):
            if p[i] < 32 or p[i] > 126:
                return self.fail(F_BAD_OCTETS)
        self.argument = PyUnicode_DecodeASCII(<const char *> p, n, NULL)
        self.next_state = S_READY
        self.authenticating = True
        return E_RESPONSE

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
        if verb == W_MAIL or verb == W_RCPT or verb == W_AUTH:
            limit = LONG_COMMAND_LIMIT
        if n + 2 > limit:
            return self.fail(F_LINE_TOO_LONG)
        while n and is_blank(p[n - 1]):
            n -= 1
        if first and is_foreign(p, n):
            return self.fail(F_FOREIGN)
        i = 4
        while i < n and (verb == 0 and not is_blank(p[i])):
            i += 1
        limit = i if i < n else n                        # the end of the verb
        while i < n and is_blank(p[i]):
            i += 1
        if verb == W_MAIL:
            return self.read_mail(p, i, n)
        if verb == W_RCPT:
            return self.read_recipient(p, i, n)
        if verb == 0:
            return self.read_long_verb(p, limit, p + i, n - i)
        return self.read_plain(verb, p + i, n - i)

    cdef int read_long_verb(self, const uint8_t *verb, Py_ssize_t length, const uint8_t *p, Py_ssize_t n) except -1:
        """A verb that has not four letters; p[0:n] is its argument."""
        if is_word(verb, length, b"STARTTLS", 8):
            if self.secure:
                return self.fail(F_ALREADY)
            if not self.offers & OFFER_STARTTLS:
                return self.fail(F_NOT_IMPLEMENTED)
            return self.fail(F_NO_ARGUMENT) if n > 0 else self.step(V_TLS, E_STARTTLS)
        if is_word(verb, length, b"XCLIENT", 7) and self.offers & OFFER_XCLIENT:
            self.argument = text_of(p, n)
            return self.fail(F_NEED_ARGUMENT) if n <= 0 else self.step(V_XCLIENT, E_XCLIENT)
        return self.fail(F_UNKNOWN)

    cdef int read_plain(self, uint32_t verb, const uint8_t *p, Py_ssize_t n) except -1:
        """Every verb of four letters but MAIL and RCPT; p[0:n] is its argument."""
        cdef int event
        if verb == W_DATA:
            if TRANSITIONS[self.state][V_DATA] >= 0:
                if n:
                    return self.fail(F_NO_ARGUMENT)
                if self.mail.body == "BINARYMIME":       # RFC 3030 section 3
                    return self.fail(F_NEED_CHUNKS)
            return self.step(V_DATA, E_DATA)
        if verb == W_BDAT:
            return self.read_chunk_command(p, n)
        if verb == W_EHLO or verb == W_HELO:
            if n == 0:
                return self.fail(F_NEED_ARGUMENT)
            if not is_hello_name(p, n):
                return self.fail(F_BAD_HELLO)
            self.extended = verb == W_EHLO
            self.verb = "EHLO" if self.extended else "HELO"
            self.argument = PyUnicode_DecodeASCII(<const char *> p, n, NULL)
            return self.step(V_HELLO, E_HELLO)
        if verb == W_RSET:
            if n:
                return self.fail(F_NO_ARGUMENT)
            self.step(V_RESET, E_RESET)
            self.state = self.next_state
            self.forget_message()
            return E_RESET
        if verb == W_QUIT:
            if n:
                return self.fail(F_NO_ARGUMENT)
            self.state = S_ENDED
            return E_QUIT
        if verb == W_AUTH:
            return self.read_auth(p, n)
        if verb == W_NOOP:
            event = E_NOOP
        elif verb == W_VRFY:
            event = E_VERIFY
        elif verb == W_EXPN:
            event = E_EXPAND
        elif verb == W_HELP:
            event = E_HELP
        elif verb == W_ETRN or verb == W_SEND or verb == W_SOML or verb == W_SAML or verb == W_TURN:
            return self.fail(F_NOT_IMPLEMENTED)
        else:
            return self.fail(F_UNKNOWN)
        if n == 0 and (event == E_VERIFY or event == E_EXPAND):
            return self.fail(F_NEED_ARGUMENT)
        self.argument = text_of(p, n)
        self.next_state = -1
        return event

    cdef int read_auth(self, const uint8_t *p, Py_ssize_t n) except -1:
        cdef int event
        if not self.offers & OFFER_AUTH:
            return self.fail(F_NOT_IMPLEMENTED)
        event = self.step(V_AUTH, E_AUTH)
        if event == E_FAULT:
            return event
        if self.authenticated:                           # RFC 4954 section 4
            return self.fail(F_ALREADY)
        if n == 0:
            return self.fail(F_NEED_ARGUMENT)
        self.argument = text_of(p, n)
        self.authenticating = True
        return event

    cdef int read_chunk_command(self, const uint8_t *p, Py_ssize_t n) except -1:
        """BDAT (RFC 3030 section 2): octets, then LAST or nothing. Where the number cannot be read, commands cannot be found again."""
        cdef Py_ssize_t i = 0
        cdef uint64_t size = 0
        cdef int to
        while i < n and 48 <= p[i] <= 57 and size <= SWALLOW_LIMIT:
            size = size * 10 + (p[i] - 48)
            i += 1
        if i == 0 or size > SWALLOW_LIMIT or (i < n and not is_blank(p[i])):
            self.state = S_ENDED
            return self.fail(F_CHUNK)
        while i < n and is_blank(p[i]):
            i += 1
        self.swallow = size
        self.last = is_word(p + i, n - i, b"LAST", 4)
        to = TRANSITIONS[self.state][V_CHUNK]
        if not self.offers & OFFER_CHUNKING:
            return self.refuse_chunk(F_NOT_IMPLEMENTED)
        if i < n and not self.last:
            return self.refuse_chunk(F_BAD_PARAMETER)
        if to < 0:
            return self.refuse_chunk(-to)
        if self.message_size and self.received + size > self.message_size:
            return self.refuse_chunk(F_TOO_LARGE)
        self.chunk = size
        self.state = S_READY                             # until it is accepted
        self.next_state = to
        return E_CHUNK

    cdef int refuse_chunk(self, int fault) except -1:
        if self.state != S_START:
            self.refuse()
        return self.fail(fault)

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

    cdef int read_mail(self, const uint8_t *p, Py_ssize_t i, Py_ssize_t n) except -1:
        cdef int fault, event = self.step(V_MAIL, E_MAIL)
        cdef MailParameters mail
        if event == E_FAULT:
            return event
        if not has_keyword(p, i, n, b"FROM:", 5):
            return self.fail(F_MAIL_SYNTAX)
        i = self.read_path(p, i + 5, n)
        if i < 0:
            return self.fail(F_MAIL_SYNTAX)
        self.mail = NO_PARAMETERS
        self.parameters = split_parameters(p, i, n)
        if self.parameters:
            if not self.extended:
                return self.fail(F_UNKNOWN_PARAMETER)
            mail = MailParameters()
            fault = read_mail_parameters(mail, self.parameters, self.offers, self.message_size)
            if fault:
                return self.fail(fault)
            self.mail = mail
        return event

    cdef int read_recipient(self, const uint8_t *p, Py_ssize_t i, Py_ssize_t n) except -1:
        cdef int fault, event = self.step(V_RECIPIENT, E_RECIPIENT)
        cdef RecipientParameters recipient
        if event == E_FAULT:
            return event
        if not has_keyword(p, i, n, b"TO:", 3):
            return self.fail(F_RECIPIENT_SYNTAX)
        i = self.read_path(p, i + 3, n)
        if i < 0 or (self.path is not None and not self.path):
            return self.fail(F_RECIPIENT_SYNTAX)
        self.recipient = None
        self.parameters = split_parameters(p, i, n)
        if self.parameters:
            if not self.extended:
                return self.fail(F_UNKNOWN_PARAMETER)
            recipient = RecipientParameters()
            fault = read_recipient_parameters(recipient, self.parameters, self.offers)
            if fault:
                return self.fail(fault)
            self.recipient = recipient
        return event

    cdef bint must_spill(self) noexcept:
        if self.spill and not self.discarding and self.content.length > <Py_ssize_t> (SPILL_PIECE if self.spilled else self.spill):
            self.spilled = True
            return True
        return False

    cdef void count(self, Py_ssize_t took, size_t written) noexcept:
        """Octets were read from the client, and so many written behind the content."""
        self.position += took
        self.received += took
        self.size += written
        self.content.length += written
        if self.message_size and self.size > self.message_size:
            self.oversized = True
            self.discarding = True
        if self.discarding:
            self.content.length = 0

    cdef int complete(self) noexcept:
        if self.discarding:
            self.content.drop()
        self.state = S_COMPLETE
        self.next_state = -1
        return E_MESSAGE

    cdef int read_mail_data(self, const uint8_t *p, Py_ssize_t stop) except -1:
        cdef Py_ssize_t n, took
        cdef size_t written
        cdef bint ended = False
        while self.position < stop:
            if self.must_spill():
                return E_SPILL
            n = stop - self.position
            self.content.make_room(2 * min(n, SLICE) + 2, n if n < 1 << 18 else 1 << 18)
            took = decode_mail_data(&self.decoder, p + self.position, min(n, SLICE), self.content.end(), &written, &ended)
            self.count(took, written)
            if ended:
                return self.complete()
            if self.discarding and self.received > self.message_size + SWALLOW_LIMIT:
                self.content.drop()
                self.state = S_ENDED
                return self.fail(F_ENDLESS)
        return E_NEED_INPUT

    cdef int read_chunk(self, const uint8_t *p, Py_ssize_t stop) except -1:
        cdef Py_ssize_t n
        cdef size_t written
        cdef bint ended, binary = self.mail.body == "BINARYMIME"
        while self.chunk:
            if self.position == stop:
                return E_NEED_INPUT
            if self.must_spill():
                return E_SPILL
            n = stop - self.position
            if <uint64_t> n > self.chunk:
                n = <Py_ssize_t> self.chunk
            self.content.make_room(2 * min(n, SLICE) + 2, n if n < 1 << 18 else 1 << 18)
            n = min(n, SLICE)
            written = n
            if binary:
                memcpy(self.content.end(), p + self.position, n)
            else:
                decode_mail_data(&self.decoder, p + self.position, n, self.content.end(), &written, &ended)
            self.chunk -= n
            self.count(n, written)
        if not self.last:
            self.state = S_CHUNKS
            self.next_state = -1
            return E_CHUNK_END
        if not binary:
            self.content.make_room(3, 0)
            self.count(0, finish_mail_data(&self.decoder, self.content.end()))
        return self.complete()
