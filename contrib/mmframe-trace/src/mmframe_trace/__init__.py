"""Watch the fits of mmframe: each iteration as a line of JSON, or on a progress bar.

    with mmframe_trace.recording("fits.jsonl"):
        mm.fit(...)

or, for every fit of a process, the environment variable MMFRAME_TRACE=fits.jsonl.
"""

from mmframe_trace.lines import read
from mmframe_trace.watching import recording, showing

__version__ = "0.1.0"
__all__ = ["read", "recording", "showing"]
