"""python -m tests.fuzz.guided TARGET SECONDS FOLDER: libFuzzer over one target, guided by what of Lamina it reaches.

Needs atheris, which is not among the packages of `dev`: it has no build for some Pythons. `tests.fuzz --atheris` runs
this; FOLDER has seeds/ and gets what reaches further in grown/, and what fails beside them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["lamina.records", "lamina.faces", "lamina.access", "lamina.server"]):
    from tests.fuzz.targets import TARGETS

RUN_S = 5
"""On a busy machine; the strict limit is looked at when the input is replayed."""


def main(name: str, seconds: str, folder: Path) -> None:
    target = TARGETS[name]

    def once(data: bytes) -> None:
        try:
            target.run(data)
        except target.refusals:
            return

    options = [f"-max_total_time={seconds}", f"-artifact_prefix={folder}/", f"-timeout={RUN_S}", "-max_len=4096"]
    options += ["-reduce_inputs=1", "-verbosity=0"]
    if target.words:
        words = folder / "words"
        quoted = ("".join(map("\\x{:02x}".format, word)) for word in target.words)
        words.write_text("".join(f'"{word}"\n' for word in quoted))
        options.append(f"-dict={words}")
    atheris.Setup([sys.argv[0], str(folder / "grown"), str(folder / "seeds"), *options], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
