"""One JSON line per run, one directory per failing case."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lamina

ROOT = Path(__file__).resolve().parents[2]
"""Tools that start tools do so here."""

RESULTS = ROOT / "results" / "reliability"
"""Git-ignored."""


def fast_folder() -> str | None:
    """Where temporary directories go: memory if there is some, as states are written and synced a thousand times.
    None: where the system puts them."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Report:
    """Counts cases and violations of one tool and says so in the end."""

    def __init__(self, tool: str, seed: int) -> None:
        self.tool = tool
        self.seed = seed
        self.cases = 0
        self.violations: list[str] = []
        self.extra: dict[str, Any] = {}
        self._began = time.monotonic()

    def fail(
        self,
        case: str,
        wrong: list[str],
        command: str,
        trace: str = "",
        state: Mapping[str, bytes] | None = None,
    ) -> None:
        """Note a failing case; the first ten are written out."""
        self.violations.append(f"{case}: {wrong[0]}")
        if len(self.violations) <= 10:
            self.write(case, wrong, command, trace, state or {})

    def write(self, case: str, wrong: list[str], command: str, trace: str, state: Mapping[str, bytes]) -> None:
        folder = RESULTS / f"{self.tool}-{self.seed}-{len(self.violations)}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "case.txt").write_text("\n".join([f"{self.tool} {case}", f"replay: {command}", *wrong]) + "\n")
        (folder / "trace.txt").write_text(trace)
        for path, content in state.items():
            place = folder / "state" / path
            if path.endswith("/"):
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)

    def line(self) -> str:
        seconds = time.monotonic() - self._began
        return json.dumps(
            {
                "tool": self.tool,
                "seed": self.seed,
                "cases": self.cases,
                "violations": len(self.violations),
                "seconds": round(seconds, 1),
                "per_s": round(self.cases / max(seconds, 1e-9), 1),
                "version": lamina.__version__,
                **self.extra,
            }
        )

    def finish(self) -> int:
        """Print the line and the violations; the exit code."""
        print(self.line(), flush=True)
        for violation in self.violations[:20]:
            print("  " + violation)
        return 1 if self.violations else 0
