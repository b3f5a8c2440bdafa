"""TLS under one client's octets, server's side, without sockets: ciphertext in and out, plain octets between. `stream` calls it.

It is OpenSSL over two memory buffers instead of the event loop's own TLS, for three reasons: what came in the clear can never be taken for
what came in TLS, because nothing but `receive` fills it; the plain octets land in the loop's shared read buffer, so an idle session costs
what OpenSSL needs and no buffers of its own; and there is no moment between the 220 and the handshake in which something else may run.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING

from esa.gateway.tls import TlsFacts, subject_of

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Channel:
    """One TLS session. Methods raise ssl.SSLError when it is broken; then only `outgoing` may still hold an alert to send."""

    __slots__ = ("_in", "_object", "_out", "closed", "established")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_side=True)
        self.established = False
        self.closed = False  # the client has said that nothing more comes

    def receive(self, ciphertext: Buffer) -> None:
        self._in.write(ciphertext)

    def handshake(self) -> bool:
        """Go on with the handshake; True once it is done."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.established = True
        return True

    def read_into(self, buffer: bytearray) -> int:
        """Decrypt what has been received into the buffer; how many octets. What did not fit comes with the next call."""
        room, total = len(buffer), 0
        view = memoryview(buffer)
        read = self._object.read
        try:
            while total < room:
                count = read(room - total, view[total:])
                if not count:
                    self.closed = True
                    break
                total += int(count)
                if not self._in.pending and not self._object.pending():
                    break
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self.closed = True
        return total

    def encrypt(self, octets: bytes) -> bytes:
        """The ciphertext of a reply, and whatever else is to go out."""
        view = memoryview(octets)
        while view:
            view = view[self._object.write(view) :]
        return self._out.read()

    def outgoing(self) -> bytes:
        """Handshake messages and alerts to send."""
        return self._out.read()

    def farewell(self) -> bytes:
        """The close_notify that says that the end is the end, and no cut."""
        with contextlib.suppress(ssl.SSLError):
            self._object.unwrap()
        return self._out.read()

    def facts(self) -> TlsFacts:
        cipher, _, bits = self._object.cipher() or ("", "", 0)
        return TlsFacts(self._object.version() or "", cipher, bits, subject_of(self._object.getpeercert(binary_form=True)))
