"""What plugins are tried beside: what comes with mmframe. Somebody else's package must not decide whether yours is right."""

from __future__ import annotations

import attrs

from mmframe.registry.loader import BUILT_IN
from mmframe.registry.registry import Entry, default_registry


def built_in(kind: str) -> list[Entry]:
    """The registered classes of mmframe itself that need no option."""
    own = [e for e in default_registry().of_kind(kind) if e.distribution == BUILT_IN]
    return [e for e in own if attrs.NOTHING not in e.options.values()]
