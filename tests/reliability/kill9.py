"""R1: processes killed by SIGKILL, at random moments and at chosen calls: nothing acknowledged is lost or half there.

python -m tests.reliability.kill9 --lives 1000              embedded: children of a warm, thread-free parent
python -m tests.reliability.kill9 --aimed                   embedded, strace kills at the Nth call of each kind
python -m tests.reliability.kill9 --server --lives 20       `lamina serve` under load of the unmodified btrdb client
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import lamina
from lamina.engine.database import Database
from lamina.storage.local import LocalFile, LocalFiles
from tests.reliability.crashstates import settled
from tests.reliability.oracle import Effect, Model, verify
from tests.reliability.report import ROOT, Report, fast_folder
from tests.reliability.workload import CROWD, WORKLOADS, Steps, Workload, perform

LIVES_PER_DIRECTORY = 12
"""Then a fresh one: checking costs more the more there is."""

LIFE_S = 0.12
"""A life is killed uniformly within so long: opening takes 20 ms, a step about one."""


CROWD_LIFE_S = 0.4
THREADS = 3


class Diary:
    """What a child did, line by line, each one written at once: after a kill it is all there.

    B n = step n begins, A n = it was acknowledged, V n 0|1 = the next life found it undone or done, O = opened and
    verified, X text = a violation.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, *words: object) -> None:
        os.write(self._fd, (" ".join(map(str, words)) + "\n").encode())

    def lines(self) -> list[list[str]]:
        return [line.split(" ", 2) for line in self.path.read_text().splitlines()]

    def close(self) -> None:
        os.close(self._fd)


class History:
    """The model as the diary tells it. `doubtful` is the step the last life was killed in."""

    def __init__(self, workload: Workload, seed: int, diary: Diary, first: int = 0) -> None:
        self.model = Model()
        self.steps = Steps(workload, seed, self.model, first)
        self.number = 0
        self.doubtful: Effect | None = None
        for word, *rest in diary.lines():
            if word == "B":
                self.doubtful = self.model.effect(self.steps.next())
                self.number += 1
            elif word == "A" or (word == "V" and rest[1] == "1"):
                assert self.doubtful is not None, "acknowledged before it began"
                self.model.apply(self.doubtful)
                self.doubtful = None
            elif word == "V":
                self.doubtful = None


def live(root: Path, diary: Diary, workload: Workload, seed: int, life: int) -> None:
    """One life: open, verify, go on until killed."""
    history = History(workload, seed, diary)
    began = time.monotonic()
    db = lamina.open(root, settings=workload.settings)
    opened = time.monotonic() - began
    if not settle(db, history, diary, random.Random(f"{seed} {life}"), life):
        return
    diary.note("O", life, f"{opened:.4f}")
    while True:
        step = history.steps.next()
        effect = history.model.effect(step)
        diary.note("B", history.number, step.kind)
        if step.kind == "reopen":
            db.close()
            db = lamina.open(root, settings=workload.settings)
        else:
            perform(db, step)
        diary.note("A", history.number)
        history.number += 1
        history.model.apply(effect)


def settle(db: Database, history: History, diary: Diary, rng: random.Random, life: int) -> bool:
    """Verify after opening, and note whether the step in flight is there. False: something is wrong."""
    doubtful = [history.doubtful] if history.doubtful is not None else []
    wrong = verify(db, history.model.facts, doubtful, history.model.content, rng)
    for text in wrong:
        diary.note("X", life, text)
    if doubtful and not wrong:
        now = settled(db, history.model.facts, doubtful, history.model).facts
        done = now != history.model.facts
        diary.note("V", history.number - 1, int(done))
        if done:
            history.model.apply(doubtful[0])
    return not wrong


def live_crowd(root: Path, diaries: list[Diary], seed: int, life: int) -> None:
    """As live, with a thread for each diary on one database, and another that flushes and compacts."""
    histories = [History(CROWD, seed, diary, 1000 * n) for n, diary in enumerate(diaries)]
    began = time.monotonic()
    db = lamina.open(root, settings=CROWD.settings)
    opened = time.monotonic() - began
    rng = random.Random(f"{seed} {life}")
    sound = [settle(db, history, diary, rng, life) for history, diary in zip(histories, diaries, strict=True)]
    if not all(sound):
        return
    diaries[0].note("O", life, f"{opened:.4f}")

    def write(history: History, diary: Diary) -> None:
        try:
            while True:
                step = history.steps.next()
                effect = history.model.effect(step)
                diary.note("B", history.number, step.kind)
                perform(db, step)
                diary.note("A", history.number)
                history.number += 1
                history.model.apply(effect)
        except BaseException as error:
            diary.note("X", life, f"{step.kind} failed by itself: {error!r}")
            os._exit(0)

    def tidy() -> None:
        try:
            while True:
                time.sleep(0.02)
                db.flush() if rng.random() < 0.5 else db.compact()
        except BaseException as error:
            diaries[0].note("X", life, f"flush or compaction failed by itself: {error!r}")
            os._exit(0)

    for pair in zip(histories, diaries, strict=True):
        threading.Thread(target=write, args=pair, daemon=True).start()
    tidy()


def child(root: Path, diaries: list[Diary], workload: Workload, seed: int, life: int, kill_at: int) -> int:
    """Fork a life; its pid. `kill_at` > 0: it kills itself before its Nth change of a file (aimed)."""
    pid = os.fork()
    if pid == 0:
        try:
            if kill_at:
                _aim(kill_at)
            if workload is CROWD:
                live_crowd(root, diaries, seed, life)
            else:
                live(root, diaries[0], workload, seed, life)
        except BaseException as error:
            diaries[0].note("X", life, f"a life failed by itself: {error!r}")
        finally:
            os._exit(0)
    return pid


def _aim(kill_at: int) -> None:
    """Die before or half way through the Nth of all writes, syncs, renames and unlinks."""
    left = [kill_at]

    def dying(owner: type, name: str) -> None:
        call = getattr(owner, name)

        def step(self: object, *args: object) -> object:
            left[0] -= 1
            if left[0] == 0:
                if name == "write_at" and kill_at % 2:
                    offset, parts = args
                    data = b"".join(parts)  # type: ignore[arg-type]
                    call(self, offset, [data[: len(data) // 2]])
                os.kill(os.getpid(), signal.SIGKILL)
            return call(self, *args)

        setattr(owner, name, step)

    for name in ("write_at", "sync", "truncate"):
        dying(LocalFile, name)
    for name in ("rename", "unlink", "sync_folder"):
        dying(LocalFiles, name)


def run_embedded(
    report: Report,
    lives: int,
    seed: int,
    stop_at: int = 10,
    aimed_share: float = 0.5,
    workloads: Sequence[Workload] = (*WORKLOADS.values(), CROWD),
) -> None:
    """Children of this process, which must have no threads."""
    rng = random.Random(f"kill9 {seed}")
    opened: list[float] = []
    directory = acknowledged = 0
    while report.cases < lives and len(report.violations) < stop_at:
        workload = workloads[directory % len(workloads)]
        directory += 1
        with tempfile.TemporaryDirectory(prefix="lamina-kill9-", dir=fast_folder()) as folder:
            diaries = [Diary(Path(folder) / f"diary-{n}") for n in range(THREADS if workload is CROWD else 1)]
            for life in range(LIVES_PER_DIRECTORY):
                aimed = rng.random() < aimed_share
                pid = child(Path(folder) / "db", diaries, workload, seed + directory, life, rng.randint(1, 150) * aimed)
                longest = LIFE_S if workload is not CROWD else CROWD_LIFE_S
                if not _wait(pid, 1.0 if aimed else rng.uniform(0, longest)):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                report.cases += 1
                wrong = [" ".join(line) for diary in diaries for line in diary.lines() if line[0] == "X"]
                if wrong or report.cases >= lives:
                    break
            acknowledged += sum(line[0] == "A" for diary in diaries for line in diary.lines())
            opened += [float(line[2]) for line in diaries[0].lines() if line[0] == "O"]
            if wrong:
                command = f"python -m tests.reliability.kill9 --lives {lives} --seed {seed}"
                report.fail(
                    f"{workload.name} life {life} of directory {directory}",
                    wrong,
                    command,
                    "\n".join(diary.path.read_text() for diary in diaries),
                )
            for diary in diaries:
                diary.close()
    opened.sort()
    report.extra["acknowledged"] = acknowledged
    if opened:
        report.extra["recovery_p99_ms"] = round(1000 * opened[int(0.99 * (len(opened) - 1))], 1)


def _wait(pid: int, seconds: float) -> bool:
    """Whether the child ended by itself within the time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(0.002)
    return False


def run_aimed(report: Report, seed: int, most: int, workload: str = "rotation") -> None:
    """strace kills a cold process at the Nth call of each kind, for N = 1, 2, ... until it is no longer reached."""
    calls = ("pwritev", "pwrite64", "fdatasync", "fsync", "rename", "unlink", "ftruncate")
    for call in calls:
        for nth in range(1, most + 1):
            with tempfile.TemporaryDirectory(prefix="lamina-aimed-", dir=fast_folder()) as folder:
                diary = Diary(Path(folder) / "diary")
                inject = f"inject={call}:signal=KILL:when={nth}"
                command = [
                    "strace",
                    "-f",
                    "-qq",
                    "-o",
                    "/dev/null",
                    "-e",
                    f"trace={call}",
                    "-e",
                    inject,
                    sys.executable,
                ]
                command += ["-m", "tests.reliability.kill9", "--life", folder, workload, str(seed), "40"]
                done = subprocess.run(command, check=False, capture_output=True, timeout=60, cwd=ROOT)
                if done.returncode == 0:
                    break  # the call is made less often than that
                report.cases += 1
                pid = child(Path(folder) / "db", [diary], WORKLOADS[workload], seed, 1, 40)
                if not _wait(pid, 5.0):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                wrong = [" ".join(line) for line in diary.lines() if line[0] == "X"]
                if not wrong and not any(line[0] == "O" and line[1] == "1" for line in diary.lines()):
                    wrong = ["the life after the kill did not open the directory"]
                if wrong:
                    report.fail(f"{call} number {nth}", wrong, " ".join(command), diary.path.read_text())
                diary.close()


def one_life(folder: str, workload: str, seed: int, steps: int) -> int:
    """A cold process for `run_aimed` and recordings with strace: so many steps, then a sudden end. LAMINA_MUTANT names
    a seeded bug that is applied from here."""
    if os.environ.get("LAMINA_MUTANT") == "catalog-normal":
        from lamina.catalog import sqlite

        prepare = sqlite._prepare
        sqlite._prepare = lambda connection: (prepare(connection), connection.execute("PRAGMA synchronous = NORMAL"))
    diary = Diary(Path(folder) / "diary")
    note = diary.note

    def ending(*words: object) -> None:
        if words[0] == "B" and int(str(words[1])) >= steps:
            os._exit(0)
        note(*words)

    diary.note = ending  # type: ignore[method-assign]
    live(Path(folder) / "db", diary, WORKLOADS[workload], seed, 0)
    return 1


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests.reliability.kill9")
    parser.add_argument("--lives", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--server", action="store_true")
    parser.add_argument("--crowd", action="store_true", help="threads on one database, only")
    parser.add_argument("--aimed", action="store_true")
    parser.add_argument("--most", type=int, default=1000, help="calls of one kind that --aimed goes through")
    parser.add_argument("--life", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.life:
        folder, workload, seed, steps = options.life
        return one_life(folder, workload, int(seed), int(steps))
    if options.server:
        from tests.reliability import serverlives

        report = Report("kill9 server", options.seed)
        serverlives.run(report, options.lives, options.seed)
    elif options.aimed:
        report = Report("kill9 aimed", options.seed)
        run_aimed(report, options.seed, options.most)
    else:
        report = Report("kill9 embedded", options.seed)
        workloads = (CROWD,) if options.crowd else (*WORKLOADS.values(), CROWD)
        run_embedded(report, options.lives, options.seed, workloads=workloads)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
