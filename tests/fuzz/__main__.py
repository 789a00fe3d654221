"""Plays targets with atheris, which looks for inputs that take new ways through the code; see ``scripts/fuzz.sh``.

python -m tests.fuzz SECONDS FOLDER [TARGET ...]

Each target is a process of its own, and has so many seconds. Inputs that were worth keeping, and those that broke a promise
(``crash-…``), are below the folder, by target; what was kept is where the next run begins. Exits with 1 when something was found.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

INSTRUMENTED = ["hostel", "json", "tomli"]


def play(name: str, arguments: list[str]) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris  # not among what the tests need

    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([f"fuzz-{name}", *arguments], TARGETS[name])
    atheris.Fuzz()


def run(seconds: int, folder: Path, names: list[str]) -> int:
    """Play them one after the other; what each came to as a line. How many broke a promise."""
    from tests.fuzz.targets import SEEDS, TARGETS

    broken = 0
    for name in names or list(TARGETS):
        place = folder / name
        corpus = place / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(SEEDS[name]):
            (corpus / f"seed-{number}").write_bytes(data)
        command = [
            sys.executable, "-m", "tests.fuzz", "--play", name, f"-max_total_time={seconds}", f"-artifact_prefix={place}/",
            "-timeout=25", "-rss_limit_mb=1500", "-max_len=4096", "-print_final_stats=1", str(corpus),
        ]  # fmt: skip
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        (place / "output").write_text(result.stdout + result.stderr)
        executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", result.stderr)
        ways = re.findall(r"cov: (\d+)", result.stderr)
        print(
            f"{name:20} {int(executed[1]) if executed else 0:>10,} executions, {ways[-1] if ways else '?':>6} ways, "
            f"{len(list(corpus.iterdir())):>5} inputs kept: "
            + ("nothing found" if result.returncode == 0 else f"BROKEN, see {place}/output and {place}/crash-*"),
            flush=True,
        )
        broken += result.returncode != 0
    return broken


if __name__ == "__main__":
    if sys.argv[1] == "--play":
        play(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(min(1, run(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])))
