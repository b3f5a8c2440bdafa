"""What domains publish of TLS of their servers, for all destinations together: a validating resolver (DANE), and policies (MTA-STS).

Made when first asked for: mail that goes to a route in the clear needs neither. `deliver` makes and closes it, `securing` asks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from esa.errors import ConfigurationError
from esa.gateway import events
from esa.gateway.delivery.policies import KeptPolicies
from esa.gateway.delivery.tally import Tally
from esa.gateway.delivery.tls_report import Reporter
from esa.gateway.delivery.tls_reporting import Reporting
from esa.gateway.events import Event as Log
from esa.gateway.peers import https
from esa.gateway.peers.mta_sts import Found
from esa.gateway.peers.probe import Manner
from esa.policy.tls_modes import MtaSts

if TYPE_CHECKING:
    from esa.gateway.peers.dns import ValidatingResolver

ANSWERS = 20_000  # of name servers that are kept, each for as long as it may be


class Published:
    """Owned by the event loop of the deliver process. `tally` counts what comes of it."""

    def __init__(
        self,
        state: Path,
        *,
        name_servers: tuple[str, ...] = (),
        trusts_resolver: bool = False,
        timeout: float,
        manner: Manner,
        https_port: int = https.HTTPS,
        is_allowed: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`timeout`: seconds for one question. `is_allowed`: whether a policy may be fetched from an address."""
        self._state, self._servers, self._is_trusted, self._timeout = state, name_servers, trusts_resolver, timeout
        self._manner, self._https_port, self._is_allowed = manner, https_port, is_allowed
        self.tally = Tally()
        self._resolver: ValidatingResolver | None = None
        self._policies: KeptPolicies | None = None

    def resolver(self) -> ValidatingResolver:
        """Raises ConfigurationError if this machine names no name server."""
        if self._resolver is None:
            from esa.gateway.peers.dns import ValidatingResolver  # takes long to load, and most processes never ask

            self._resolver = ValidatingResolver(self._servers, timeout=self._timeout, is_trusted=self._is_trusted, kept=ANSWERS)
        return self._resolver

    def reporting(self, reporter: Reporter, *, sends: bool) -> Reporting:
        """What reports on it."""
        return Reporting(
            self._state,
            self.tally,
            self.resolver,
            reporter,
            sends=sends,
            manner=self._manner,
            port=self._https_port,
            is_allowed=self._is_allowed,
        )

    async def policy(self, domain: str) -> Found:
        """The policy of a domain, as it counts now."""
        try:
            if self._policies is None:
                self._policies = KeptPolicies(
                    self._state, self.resolver(), manner=self._manner, port=self._https_port, is_allowed=self._is_allowed
                )
        except ConfigurationError as fault:
            events.error(Log.PROCESS_FAILED, reason=str(fault), consequence="policies of domains (MTA-STS) are not known")
            return Found(None, MtaSts.UNKNOWN, f"policies are not kept here: {fault}")
        return await self._policies.policy(domain)

    async def tell_of_dnssec(self) -> None:
        """For destinations under DANE: say so if the name server validates nothing, for then no record is ever found."""
        try:
            resolver = self.resolver()
        except ConfigurationError as fault:
            events.error(Log.PROCESS_FAILED, reason=str(fault), consequence="mail under dane waits")
            return
        if not await resolver.validates():
            events.warning(
                Log.DNSSEC_MISSING,
                reason="the name server does not say that its answers are validated, or is on another machine and not trusted",
                consequence="no TLSA record counts: mail under dane goes as under preferred",
            )

    async def close(self) -> None:
        if self._policies is not None:
            await self._policies.close()
