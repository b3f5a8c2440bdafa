"""An open email security appliance as a library: what is true of a message, offline and without configuration.

    import esa

    report = esa.scan(raw)                       # bytes → Report, with the bundled model
    report.verdict, report.score                 # Verdict.SUSPECT, 61.3
    for reason in report.reasons: ...            # additive log-odds; they sum to the score's logit
    for report in esa.scan_many(raws): ...       # batched, order kept

Names are loaded on first use; what is loaded then is the floors `message` and `engine` and the native core, nothing of servers or storage.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esa.engine.dictionary import Dictionary as Dictionary
    from esa.engine.scanner import Scanner as Scanner
    from esa.engine.scanner import scan as scan
    from esa.engine.scanner import scan_async as scan_async
    from esa.engine.scanner import scan_many as scan_many
    from esa.engine.verdict import Reason as Reason
    from esa.engine.verdict import Report as Report
    from esa.engine.verdict import Verdict as Verdict
    from esa.errors import EsaError as EsaError
    from esa.message.content import Message as Message
    from esa.message.envelope import Envelope as Envelope
    from esa.message.envelope import Session as Session

__all__ = [
    "Dictionary",
    "Envelope",
    "EsaError",
    "Message",
    "Reason",
    "Report",
    "Scanner",
    "Session",
    "Verdict",
    "__version__",
    "scan",
    "scan_async",
    "scan_many",
]

__version__ = "0.1.0"

_HOMES = {
    "Dictionary": "esa.engine.dictionary",
    "Envelope": "esa.message.envelope",
    "EsaError": "esa.errors",
    "Message": "esa.message.content",
    "Reason": "esa.engine.verdict",
    "Report": "esa.engine.verdict",
    "Scanner": "esa.engine.scanner",
    "Session": "esa.message.envelope",
    "Verdict": "esa.engine.verdict",
    "scan": "esa.engine.scanner",
    "scan_async": "esa.engine.scanner",
    "scan_many": "esa.engine.scanner",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'esa' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
