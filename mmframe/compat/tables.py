"""Plain text tables under a title, as the summaries of this face show them."""

from __future__ import annotations

import pandas as pd


def text_table(frame: pd.DataFrame, title: str = "") -> str:
    """A frame of text between lines, its title centred."""
    lines = frame.to_string(justify="right").splitlines()
    width = max(len(title), *(len(line) for line in lines))
    rule = "=" * width
    body = [lines[0], "-" * width, *lines[1:]]
    return "\n".join([*([title.center(width).rstrip()] if title else []), rule, *body, rule])
