"""A handshake in memory with a certificate and its key, as a client would have it that verifies: OpenSSL's word on files, without a network."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

STEPS = 10  # flights of a handshake; TLS 1.2 has four


def refusal(chain: Path, key: Path, *, authorities: Sequence[x509.Certificate], password: bytes = b"") -> str:
    """Why a client that trusts `authorities` refuses this chain, in OpenSSL's words; empty if it takes it.

    The name is not asked for: it is another finding. Raises ssl.SSLError or OSError for files that no server can use.
    """
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(chain, key, lambda: password)
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    if authorities:
        client_context.load_verify_locations(cadata=b"".join(one.public_bytes(Encoding.DER) for one in authorities))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server)
    for _ in range(STEPS):
        try:
            client.do_handshake()
            return ""
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        except ssl.SSLError as error:
            return (error.reason or str(error)).replace("_", " ").lower()
        try:
            server.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            return (error.reason or str(error)).replace("_", " ").lower()
    return "the handshake does not end"
