"""Change the code that carries guarantees, and see which changes the tests notice: `make mutants`.

mutmut makes the changes, one in each copy of this folder, and each module's tests run on it until
the first failure. mutmut's own runner is not used: it forks its workers from a process that has run
the tests, and so has clients and settings of an emulator that no longer runs.

`tests/mutants.toml` says which tests belong to which module, and which changes are equivalent: no
test can notice them, for the reason that it gives. Log calls and messages to readers are left out.
"""

import argparse
import difflib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import libcst
from libcst import matchers
from mutmut.mutation.file_mutation import Mutation, create_mutations

ROOT = Path(__file__).parents[1]
CONFIGURATION = ROOT / "tests" / "mutants.toml"
SAMPLE = 200
SEED = 13
GOAL = 0.92  # of the sampled mutants that are not equivalent
WORKERS = 2  # copies of the tests at a time: most tests wait for something
SLOWER = 3  # a mutant that takes so many times longer than the unchanged code has timed out
SPARE_SECONDS = 30  # for the start of the emulators, however short the tests are
LINKED = (".venv", ".venv-ministack", "node_modules", ".nginx")
LEFT_OUT = (".git", "__pycache__", ".sandbox*", ".*_cache", ".hypothesis", *LINKED)


@dataclass(frozen=True)
class Mutant:
    """A module with one change.

    Attributes:
        module: The module, such as `uploads/registration`.
        function: The function that is changed.
        number: Distinguishes the mutants of one module.
        tree: The unchanged module.
        mutation: The change.
    """

    module: str
    function: str
    number: int
    tree: libcst.Module
    mutation: Mutation

    @property
    def name(self) -> str:
        """Return what to call it."""
        return f"{self.module}:{self.function} #{self.number}"

    @cached_property
    def code(self) -> str:
        """Return the changed module."""
        changed: Any = self.tree.deep_replace(
            self.mutation.original_node, self.mutation.mutated_node
        )
        return str(changed.code)

    @cached_property
    def diff(self) -> list[str]:
        """Return the lines that are removed and those in their place, with a line around them."""
        old, new = (text.splitlines() for text in (self.tree.code, self.code))
        return list(difflib.unified_diff(old, new, lineterm="", n=1))[2:]

    @property
    def change(self) -> tuple[str, str, str]:
        """Return the module, what is removed and what is put in its place, each on one line."""
        before, after = (
            " ".join(line[1:].strip() for line in self.diff if line.startswith(sign))
            for sign in "-+"
        )
        return self.module, before, after

    def digest(self, seed: int) -> bytes:
        """Return a hash of the change and a seed; the smallest hashes are the sample."""
        nodes = self.mutation.original_node, self.mutation.mutated_node
        texts = [self.tree.code_for_node(node) for node in nodes]
        return hashlib.sha256(repr((seed, self.module, self.function, texts)).encode()).digest()


def _prose(tree: libcst.Module) -> set[libcst.CSTNode]:
    """Return the literals that are messages to a reader, with every part of a joined one.

    Conditions for DynamoDB have a `#`.
    """
    literal = matchers.SimpleString()
    prose: set[libcst.CSTNode] = set()
    for whole in matchers.findall(tree, matchers.ConcatenatedString() | literal):
        text = tree.code_for_node(whole)
        if " " in text and "#" not in text:
            prose |= set(matchers.findall(whole, literal))
    return prose


def mutants_of(module: str) -> Iterator[Mutant]:
    """Yield all mutants of a module."""
    path = ROOT / "chalicelib" / f"{module}.py"
    tree, mutations, _, _ = create_mutations(str(path), path.read_text())
    prose = _prose(tree)
    for number, mutation in enumerate(mutations):
        function = mutation.contained_by_top_level_function
        is_in_function = isinstance(function, libcst.FunctionDef)
        if is_in_function and mutation.original_node not in prose:
            yield Mutant(module, function.name.value, number, tree, mutation)


class Copies:
    """Copies of this folder, in each of which one mutant at a time is tested.

    Args:
        folder: Where to put them.
        number: How many.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._free: SimpleQueue[Path] = SimpleQueue()
        self._running: set[int] = set()
        for name in range(number):
            copy = folder / str(name)
            shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
            for linked in LINKED:
                (copy / linked).symlink_to((ROOT / linked).resolve())
            self._free.put(copy)

    def run(self, tests: list[str], seconds: float | None, mutant: Mutant | None = None) -> str:
        """Run tests on a mutant, or on the unchanged code.

        Returns:
            `killed`, `survived` or `timed out`.
        """
        copy = self._free.get()
        try:
            if mutant is None:
                return self._run(copy, tests, seconds)
            path = copy / "chalicelib" / f"{mutant.module}.py"
            original = path.read_text()
            path.write_text(mutant.code)
            try:
                return self._run(copy, tests, seconds)
            finally:
                path.write_text(original)
        finally:
            self._free.put(copy)

    def stop(self) -> None:
        """Stop all tests, with the emulators that they started."""
        for group in list(self._running):
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    def _run(self, copy: Path, tests: list[str], seconds: float | None) -> str:
        # The bytecode of a mutant would be taken for the next one's, if both have one size and
        # time.
        process = subprocess.Popen(  # noqa: S603 - the project's own tests
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
            cwd=copy,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._running.add(process.pid)
        try:
            return "killed" if process.wait(seconds) else "survived"
        except subprocess.TimeoutExpired:
            return "timed out"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self._running.discard(process.pid)


def main() -> None:
    """Test a sample, and fail if the tests notice too few of it; a time-out is noticed too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    arguments = _arguments()
    os.chdir(ROOT)  # mutmut reads its settings where it is started.
    configuration = tomllib.loads(CONFIGURATION.read_text())
    tests: dict[str, list[str]] = {
        module: group["tests"] for group in configuration["group"] for module in group["modules"]
    }
    equivalents = {
        (one["module"], one["before"], one["after"]) for one in configuration.get("equivalent", [])
    }
    _refuse_stale(equivalents)
    chosen_modules = arguments.module or sorted(tests)
    pool = [mutant for module in chosen_modules for mutant in mutants_of(module)]
    # By their hashes, so that a change of the code changes little of the sample.
    chosen = sorted(pool, key=lambda one: one.digest(arguments.seed))[: arguments.sample]
    tested = [one for one in chosen if one.change not in equivalents]
    print(
        f"{len(pool)} mutants, {len(chosen)} sampled, {len(tested)} of them not equivalent.",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        results = _test(Copies(Path(folder), WORKERS), tested, tests)
    _report(tested, results)


def _refuse_stale(equivalents: set[tuple[str, str, str]]) -> None:
    """Fail if an equivalent change is one of code that is no longer there."""
    for module, before, _ in sorted(equivalents):
        code = (ROOT / "chalicelib" / f"{module}.py").read_text()
        if before not in " ".join(line.strip() for line in code.splitlines()):
            sys.exit(f"Delete it from {CONFIGURATION.name}: {module} no longer has: {before}")


def _test(copies: Copies, tested: list[Mutant], tests: dict[str, list[str]]) -> dict[str, str]:
    """Return the result of each mutant, by its name."""

    def measure(group: tuple[str, ...]) -> float:
        began = time.monotonic()
        if copies.run(list(group), None) != "survived":
            raise SystemExit(f"The tests fail on the unchanged code: {' '.join(group)}")
        return time.monotonic() - began

    def test(mutant: Mutant) -> str:
        group = tests[mutant.module]
        result = copies.run(group, SLOWER * taken[tuple(group)] + SPARE_SECONDS, mutant)
        print(f"{result:<10}{mutant.name}", flush=True)
        return result

    groups = list(dict.fromkeys(tuple(tests[one.module]) for one in tested))
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            taken = dict(zip(groups, pool.map(measure, groups), strict=True))
            longest = sum(taken[tuple(tests[one.module])] for one in tested) / WORKERS / 60
            print(f"At most {longest:.0f} minutes, a third of it if most are killed.", flush=True)
            return dict(zip((one.name for one in tested), pool.map(test, tested), strict=True))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            copies.stop()
            raise


def _report(tested: list[Mutant], results: dict[str, str]) -> None:
    """Print the score by module and the survivors; fail if the score is too low."""
    for module in sorted({one.module for one in tested}):
        counts = Counter(results[one.name] for one in tested if one.module == module)
        print(f"{module:<26}" + ", ".join(f"{counts[kind]} {kind}" for kind in sorted(counts)))
    survivors = [one for one in tested if results[one.name] == "survived"]
    for one in survivors:
        print("\n".join(["", one.name, *one.diff]))
    score = 1 - len(survivors) / max(1, len(tested))
    print(
        f"\n{len(tested) - len(survivors)} of {len(tested)} noticed: {score:.1%}, {GOAL:.0%} wanted"
    )
    if score < GOAL:
        sys.exit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Which changes of the code do the tests notice?")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="how many mutants to test")
    parser.add_argument("--seed", type=int, default=SEED, help="chooses the sample")
    parser.add_argument("--module", action="append", help="only this one, as uploads/recording")
    return parser.parse_args()


if __name__ == "__main__":
    main()
