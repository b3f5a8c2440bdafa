"""`esa bench tls`: a row for each profile, key and version, and the recorded peers that a profile would lose."""

from __future__ import annotations

import time
from pathlib import Path

from esa.cli.bench_tls import risks_of
from esa.store.identifier import new_identifier
from esa.store.record import Event, EventName
from esa.store.segments import Batch
from esa.store.tracking import Told, Tracking
from tests.cli.command import esa


def test_each_profile_is_measured_with_each_key_and_version() -> None:
    done = esa("bench", "tls", "--json", "--seconds", "0.01")
    assert done.code == 0
    costs = done.lines[0]["costs"]
    assert isinstance(costs, list)
    rows = {(cost["profile"], cost["key"], cost["version"]) for cost in costs}
    assert len(rows) == 3 * (1 + 2 + 2)
    assert ("modern", "ECDSA P-256", "TLSv1.3") in rows
    assert ("modern", "ECDSA P-256", "TLSv1.2") not in rows
    assert all(min(cost["handshakes"], cost["resumed"], cost["megabytes"]) > 0 for cost in costs)


def test_a_refused_policy_is_told_and_not_measured() -> None:
    done = esa("bench", "tls", "--json", "--seconds", "0.01", "--ciphers", "HIGH:RC4")
    assert done.code == 0
    assert "refused: RC4" in done.err
    assert "HIGH:RC4" not in done.out


def test_peers_are_at_risk_that_never_agreed_on_what_a_profile_offers(tmp_path: Path) -> None:
    agreed = {
        "192.0.2.1": "TLSv1.3 TLS_AES_256_GCM_SHA384",
        "192.0.2.2": "TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256",
        "192.0.2.3": "TLSv1.2 AES128-SHA",
        "192.0.2.4": "",
    }
    tracking = Tracking(tmp_path)
    told = []
    for client, tls in agreed.items():
        fields = {"client": client, **({"tls": tls} if tls else {})}
        identifier = new_identifier()
        told.append(Told(f"{identifier}:0", identifier, Event(EventName.CONNECTED, time.time(), fields)))
    tracking.add(Batch(), told)
    tracking.close()
    risks = {risk.profile: (risk.peers, risk.at_risk) for risk in risks_of(["modern", "intermediate", "compatible"], tmp_path)}
    assert risks == {"modern": (3, 2), "intermediate": (3, 1), "compatible": (3, 0)}
