"""States, events, faults, columns and verbs of the SMTP machine as numbers; `_smtp` says what they mean and gives the names."""

cdef enum:
    # states
    S_START = 0
    S_READY = 1
    S_FROM = 2
    S_TO = 3
    S_CHUNKS = 4
    S_AUTH = 5
    S_MAIL_DATA = 6
    S_CHUNK = 7
    S_COMPLETE = 8
    S_TLS = 9
    S_ENDED = 10

    # events
    E_NEED_INPUT = 0
    E_HELLO = 1
    E_MAIL = 2
    E_RECIPIENT = 3
    E_DATA = 4
    E_CHUNK = 5
    E_CHUNK_END = 6
    E_MESSAGE = 7
    E_SPILL = 8
    E_RESET = 9
    E_NOOP = 10
    E_VERIFY = 11
    E_EXPAND = 12
    E_HELP = 13
    E_QUIT = 14
    E_STARTTLS = 15
    E_AUTH = 16
    E_RESPONSE = 17
    E_XCLIENT = 18
    E_FAULT = 19

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
    F_CHUNKED = 21
    F_NEED_CHUNKS = 22
    F_ALREADY = 23

    # columns of the transition table
    V_HELLO = 0
    V_MAIL = 1
    V_RECIPIENT = 2
    V_DATA = 3
    V_CHUNK = 4
    V_RESET = 5
    V_OTHER = 6
    V_QUIT = 7
    V_TLS = 8
    V_AUTH = 9
    V_XCLIENT = 10

    # verbs as `verb_of` reads them
    W_DATA = 0x44415441
    W_BDAT = 0x42444154
    W_EHLO = 0x45484C4F
    W_HELO = 0x48454C4F
    W_RSET = 0x52534554
    W_QUIT = 0x51554954
    W_NOOP = 0x4E4F4F50
    W_VRFY = 0x56524659
    W_EXPN = 0x4558504E
    W_HELP = 0x48454C50
    W_AUTH = 0x41555448
    W_MAIL = 0x4D41494C
    W_RCPT = 0x52435054
    W_ETRN = 0x4554524E
    W_SEND = 0x53454E44
    W_SOML = 0x534F4D4C
    W_SAML = 0x53414D4C
    W_TURN = 0x5455524E
