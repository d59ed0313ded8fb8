"""Log lines on stderr: time in UTC, level, logger, message. stdout belongs to the ready line."""

from __future__ import annotations

import logging
import sys
import time


def configure(level: str) -> None:
    """Send what is at this level (debug, info, warning, error) or above to stderr, and nowhere else."""
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s", datefmt="%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # uvicorn narrates its own life cycle at info; ours is told by lamina.server
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, logging.getLogger().level))
