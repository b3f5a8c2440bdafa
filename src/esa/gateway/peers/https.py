"""One question to a web server that a domain names (a policy, a report), over HTTPS. `mta_sts` and delivery's `tls_reporting` ask.

The certificate must be trusted and stand for the host. No redirect is followed, nothing is kept, and what comes is bounded. Who asks sets a limit of time,
and says which addresses may be connected to: the name is a stranger's.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, cast

from esa.gateway.certificates.names import matching_name
from esa.gateway.peers.answers import PeerResolver
from esa.gateway.peers.probe import ADDRESSES, Manner, chain_of, client_context

HTTPS = 443
HEAD_LIMIT = 16 << 10  # octets of the header of the reply


class Reply(NamedTuple):
    """`content_type` in lower case, without parameters."""

    status: int
    content_type: str
    body: bytes


class HttpsError(Exception):
    """There is no reply. `trouble`: nobody can be spoken to, whoever answers is not who has to, or says too much."""

    def __init__(self, trouble: Literal["fetch", "certificate", "content"], reason: str) -> None:
        super().__init__(reason)
        self.trouble: Literal["fetch", "certificate", "content"] = trouble


def get(host: str, path: str) -> bytes:
    """The request for a page. `host` and `path` are printable ASCII without spaces."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: esa\r\nConnection: close\r\n\r\n".encode("ascii")


def post(host: str, path: str, content_type: str, body: bytes) -> bytes:
    """The request that hands something over. As `get`."""
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: esa\r\nConnection: close\r\n"
    return f"{head}Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode("ascii") + body


async def ask(
    resolver: PeerResolver,
    host: str,
    request: bytes,
    *,
    manner: Manner,
    port: int = HTTPS,
    limit: int,
    is_allowed: Callable[[str], bool] = lambda _: True,
) -> Reply:
    """The reply to a request. `host` in A-labels; `limit`: octets of its body. Raises HttpsError or OSError, which say why there is none."""
    answer = await resolver.addresses(host)
    if not answer.values:
        raise HttpsError("fetch", f"{host} has no address")
    addresses = [one for one in answer.values if is_allowed(one)][:ADDRESSES]
    if not addresses:
        raise HttpsError("fetch", f"{host} has an address that nobody is asked at: {answer.values[0]}")
    fault: OSError | None = None
    for address in addresses:
        try:
            reader, writer = await asyncio.open_connection(
                address, port, ssl=client_context(manner.authorities, manner.policy, True), server_hostname=host, limit=HEAD_LIMIT
            )
        except ssl.SSLCertVerificationError as error:
            raise HttpsError("certificate", f"the certificate of {host} is not trusted: {error.verify_message}") from error
        except OSError as error:
            fault = error
            continue
        try:
            return await _exchange(reader, writer, host, request, limit)
        finally:
            writer.transport.abort()
    raise HttpsError("fetch", f"no connection to {host}: {fault.strerror or fault if fault is not None else 'no address'}")


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, request: bytes, limit: int) -> Reply:
    chain = chain_of(writer.get_extra_info("ssl_object"))
    if not chain or matching_name(chain[0], host) is None:
        raise HttpsError("certificate", f"the certificate does not stand for {host}")
    writer.write(request)
    await writer.drain()
    octets = bytearray()
    while len(octets) <= limit + HEAD_LIMIT and (more := await reader.read(HEAD_LIMIT)):
        octets += more
    if len(octets) > limit + HEAD_LIMIT:
        raise HttpsError("content", f"it has more than {limit >> 10} KiB")
    response = http.client.HTTPResponse(cast("socket.socket", _Octets(bytes(octets))), method="GET")
    try:
        response.begin()
        body = response.read()  # bounded by what was read above; of a length that is announced and does not come, it complains
    except http.client.HTTPException as error:
        raise HttpsError("fetch", f"{host} does not speak HTTP: {type(error).__name__}") from error
    if len(body) > limit:
        raise HttpsError("content", f"it has more than {limit >> 10} KiB")
    return Reply(response.status, response.headers.get_content_type(), body)


class _Octets:
    """What came, as http.client reads it."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def makefile(self, mode: str, *_: Sequence[object]) -> io.BytesIO:
        return io.BytesIO(self._octets)
