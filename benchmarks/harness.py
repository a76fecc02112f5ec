"""Measure, compare and record: the little that every benchmark shares.

A benchmark is a module with a `run(report, options)` function and ends in
``main(run, __doc__)``. Times are wall-clock; each is repeated and given as the median
with its least and greatest value. Two ways of doing one thing are timed in turn (A, B, A, B, ...) and
their ratio is taken within each turn, so that a busy machine slows both sides alike.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
_PACKAGES = ("napari-cardioseg", "numpy", "scipy", "torch", "pydicom", "napari", "PyQt6")

Call = Callable[[], object]


@dataclass(frozen=True)
class Sample:
    """Repeated measurements of one quantity: median, least and greatest value."""

    values: tuple[float, ...]
    unit: str = "s"

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    def as_dict(self) -> dict[str, Any]:
        """Give the summary and the single values, ready for JSON."""
        return {
            "median": round(self.median, 5),
            "min": round(min(self.values), 5),
            "max": round(max(self.values), 5),
            "repeats": len(self.values),
            "unit": self.unit,
            "values": [round(v, 5) for v in self.values],
        }

    def __str__(self) -> str:
        spread = f"({min(self.values):.3f} to {max(self.values):.3f}, n = {len(self.values)})"
        return f"{self.median:.3f} {self.unit}   {spread}"


@dataclass
class Report:
    """Collects the results of one benchmark run, and prints each as it comes.

    Parameters
    ----------
    name : str
        The benchmark's name.
    repeats : int
        How often each call is timed.
    """

    name: str
    repeats: int = 5
    samples: dict[str, Sample] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    goals: dict[str, dict[str, Any]] = field(default_factory=dict)

    def time(self, name: str, call: Call, *, repeats: int | None = None, warm_up: int = 1) -> Sample:
        """Time `call` several times, after `warm_up` calls that are not counted."""
        for _ in range(warm_up):
            call()
        return self.record(name, [seconds(call) for _ in range(repeats or self.repeats)])

    def compare(self, name: str, call: Call, against: str, reference: Call, *, warm_up: int = 1) -> Sample:
        """Time two calls in turn and give the ratio `call` / `reference`, taken within each turn."""
        for _ in range(warm_up):
            call()
            reference()
        turns = [(seconds(call), seconds(reference)) for _ in range(self.repeats)]
        self.record(name, [a for a, _ in turns])
        self.record(against, [b for _, b in turns])
        return self.record(f"{name} / {against}", [a / b for a, b in turns], unit="x")

    def record(self, name: str, values: Sequence[float], unit: str = "s") -> Sample:
        """Add measurements made elsewhere."""
        sample = Sample(tuple(values), unit)
        self.samples[name] = sample
        say(name, sample)
        return sample

    def fact(self, name: str, value: Any) -> None:
        """Note a condition of the run (how many files, which model), which JSON can hold."""
        self.facts[name] = value
        say(name, value)

    def goal(self, name: str, *, at_most: float) -> bool:
        """State the goal for the sample `name`: a median of `at_most`; tell whether it was met."""
        median = self.samples[name].median
        met = median <= at_most
        self.goals[name] = {"at_most": at_most, "median": round(median, 5), "met": met}
        say(f"goal: {name}", f"{'met' if met else 'MISSED'} ({median:.3f}, at most {at_most:g})")
        return met

    def as_dict(self) -> dict[str, Any]:
        """Give the whole run, with where and when it ran, ready for JSON."""
        return {
            "benchmark": self.name,
            "command": f"python -m benchmarks.{self.name} {' '.join(sys.argv[1:])}".strip(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit(),
            "machine": machine(),
            "versions": versions(),
            "facts": self.facts,
            "results": {name: sample.as_dict() for name, sample in self.samples.items()},
            "goals": self.goals,
        }


def say(name: str, value: object) -> None:
    """Print one line of the run as it happens."""
    print(f"{name:<48} {value}", flush=True)


def seconds(call: Call) -> float:
    """Time one call by the wall clock; the collector is run before, not during it."""
    gc.collect()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def machine() -> dict[str, Any]:
    """Describe the computer: processor, cores that this process may use, system, load before the run."""
    processor = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line
        ]
        processor = names[0] if names else processor
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "processor": processor or platform.machine(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def versions() -> dict[str, str]:
    """List the versions of the packages that decide the times."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Name the commit that was measured, marked where the tree had changes; empty outside a checkout."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip()


def main(
    run: Callable[[Report, argparse.Namespace], None],
    description: str | None,
    add_options: Callable[[argparse.ArgumentParser], None] | None = None,
) -> None:
    """Run one benchmark as a program: parse its options, measure, print, and write `--json`."""
    name = Path(sys.argv[0]).stem
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the results to this file")
    parser.add_argument("--repeats", type=int, default=5, help="how often each call is timed (default 5)")
    if add_options is not None:
        add_options(parser)
    options = parser.parse_args()
    report = Report(name, repeats=max(1, options.repeats))
    run(report, options)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report.as_dict(), indent=2) + "\n")
