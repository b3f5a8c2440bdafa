"""Users of an LDAP directory: the entry of a name is searched for, and bound as with the password. A source of `authentication.Users`.

    one entry → bind as it: taken or not · none → another source may know the name · several → nobody · no answer → CannotTell

A password is never sent for a name that the search did not find, never empty (that would be an anonymous bind, which proves nothing), and only
as the mail administrator's table says: within TLS unless the server is this machine.
"""

from __future__ import annotations

import asyncio

from esa.gateway import events
from esa.gateway.authentication import CannotTell, Credentials, Proof
from esa.gateway.directory.ldap import LdapClient, LdapSettings
from esa.gateway.directory.silence import Silence, SourceFailure
from esa.gateway.events import Event as Log


class LdapUsers:
    """One directory. Belongs to one event loop."""

    def __init__(self, name: str, settings: LdapSettings, *, proven_for: float) -> None:
        self.name, self._settings = name, settings
        self.proven_for = proven_for
        self._client = LdapClient(settings)
        self._silence = Silence(name, "its users cannot authenticate, 454")

    async def check(self, credentials: Credentials) -> Proof:
        if self._silence.is_on(asyncio.get_running_loop().time()):
            raise CannotTell(f"{self.name} has not answered lately")
        try:
            async with asyncio.timeout(self._settings.timeout):
                proof = await self._ask(credentials)
        except (SourceFailure, OSError) as failure:  # TimeoutError is an OSError
            reason = str(failure) or f"no answer within {self._settings.timeout:g} s"
            self._silence.failed(reason)
            raise CannotTell(f"{self.name}: {reason}") from failure
        self._silence.ended()
        return proof

    async def _ask(self, credentials: Credentials) -> Proof:
        name, password = credentials
        local_part, at, domain = name.rpartition("@")
        values = {"address": name, "local_part": local_part if at else name, "domain": domain if at else ""}
        found = await self._client.find(values, limit=2)
        if not found:
            return Proof.UNKNOWN
        if len(found) > 1:
            events.warning(Log.USER_AMBIGUOUS, source=self.name, user=name, reason="the filter finds more than one entry")
            return Proof.WRONG
        (entry,) = found
        if not entry:  # the root of the directory has no name, and to bind without a name proves nothing
            return Proof.WRONG
        return Proof.RIGHT if await self._client.takes(entry, password) else Proof.WRONG

    def reload(self) -> bool:
        return False

    async def close(self) -> None:
        await self._client.close()
