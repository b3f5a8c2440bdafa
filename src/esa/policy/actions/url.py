"""Actions on URLs in a message. Their facts are not found out yet; those that lead readers through another maker's service are refused."""

from __future__ import annotations

from esa.policy.filters.words import Action, Kind, Signature

_URLS = "checks of URLs"
_SERVICE = "it leads readers through a web proxy of another maker; use the -defang or -replace action"
_SCORED = (Kind.NUMBER, Kind.NUMBER)
_BY = {
    "url-reputation": (_SCORED, "whose score is within bounds"),
    "url-no-reputation": ((), "that have no score"),
    "url-category": ((Kind.TEXTS,), "of these categories"),
}


def _actions_of(prefix: str) -> tuple[Action, ...]:
    first, whose = _BY[prefix]
    replaced = Signature((*first, Kind.TEXT, Kind.TEXT, Kind.NUMBER), len(first) + 1)
    plain = Signature((*first, Kind.TEXT, Kind.NUMBER), len(first))
    return (
        Action(f"{prefix}-replace", replaced, f"URLs {whose} are replaced by a text.", waits_for=_URLS),
        Action(f"{prefix}-defang", plain, f"URLs {whose} are written so that nobody can follow them.", waits_for=_URLS),
        Action(f"{prefix}-proxy-redirect", plain, f"URLs {whose} lead through a proxy.", refused=_SERVICE),
    )


actions = tuple(action for prefix in _BY for action in _actions_of(prefix))
