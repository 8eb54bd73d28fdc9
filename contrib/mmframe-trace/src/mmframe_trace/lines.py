"""Lines of JSON: one an event, appended, so that what was written survives whatever comes after."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from attrs import frozen

from mmframe_trace.events import Event


@frozen
class Lines:
    """A file of lines. It is opened for each event: a fit may take days, and somebody may move the file meanwhile."""

    path: Path

    def tell(self, fit: str, event: Event) -> None:
        """Append one line. Raises OSError, which mmframe turns into a warning."""
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"fit": fit, "time": stamp, "process": os.getpid(), **event}, ensure_ascii=False)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def close(self) -> None:
        """Nothing is open between events."""


def read(path: str | Path) -> pd.DataFrame:
    """The iterations of a file of lines: one row each, with the columns fit, time, process, stage, iteration, evaluations, value
    (−2 log L), gradient_norm and seconds. A last line that was cut short is left out.

    Raises OSError, and ValueError with the number of a line that is no event.
    """
    rows = []
    texts = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
    for number, text in enumerate(texts, start=1):
        try:
            event = json.loads(text)
        except json.JSONDecodeError:
            if number == len(texts) and not text.endswith("\n"):
                break
            raise ValueError(f"{path}, line {number}: {text.strip()[:60]!r}; allowed: lines of JSON") from None
        if not isinstance(event, dict) or "event" not in event:
            raise ValueError(f"{path}, line {number}: {text.strip()[:60]!r}; allowed: an object with 'event'")
        if event["event"] == "iteration":
            rows.append(event)
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    return table.assign(time=pd.to_datetime(table["time"], utc=True)).astype(_COLUMNS)


_COLUMNS: dict[str, Any] = {
    "fit": str,
    "time": "datetime64[ns, UTC]",
    "process": int,
    "stage": str,
    "iteration": int,
    "evaluations": int,
    "value": float,  # null is NaN
    "gradient_norm": float,
    "seconds": float,
}
