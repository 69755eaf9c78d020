"""Draw the results of `rate_limiter.py`: presigns and budget, waiting times, fairness."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

BUDGET = 120
GREEDY = 1
MODEST = range(2, 32)
SECONDS = 600
HIGHEST = 400  # presigns in a minute at the top of the plot
COLOURS = {
    "the rate limiter": "#0b6e4f",
    "no limiter": "#b23a48",
    "token bucket": "#d98e04",
    "fixed windows": "#4a6fa5",
}

Found = Mapping[tuple[str, str, str], Any]


def draw(folder: Path, found: Found) -> None:
    """Write the three plots.

    Args:
        folder: The folder for the plots.
        found: The outcomes by crowd, design and window.
    """
    plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    names = list(dict.fromkeys(name for name, _, _ in found))
    for name, figure in {
        "presigns": _presigns(found, names),
        "waiting": _waiting(found),
        "fairness": _fairness(found),
    }.items():
        figure.savefig(folder / f"rate-limiter-{name}.png", dpi=110)
        plt.close(figure)


def _in_last_minute(sent: Sequence[float]) -> list[int]:
    """Return for each second the number of presigns in the 60 seconds before."""
    return [
        bisect_right(sent, at * 1000) - bisect_left(sent, at * 1000 - 60_000)
        for at in range(SECONDS + 1)
    ]


def _presigns(found: Found, names: Sequence[str]) -> Any:
    figure, grid = plt.subplots(2, 2, figsize=(11, 7), sharex=True, sharey=True)
    minutes = [at / 60 for at in range(SECONDS + 1)]
    for axes, name in zip(grid.flat, names, strict=True):
        axes.axhline(BUDGET, color="black", linestyle="--", linewidth=1)
        cut = []
        for design, colour in reversed(COLOURS.items()):
            counts = _in_last_minute(found[name, design, "sliding"].sent)
            width = 2.5 if design == "the rate limiter" else 1.2
            axes.plot(minutes, counts, color=colour, linewidth=width, label=design)
            if max(counts) > HIGHEST:
                cut.append(f"{design}: up to {max(counts):,}")
        axes.set_title(name, loc="left", fontweight="bold")
        axes.set_ylim(0, HIGHEST)
        axes.text(0.98, 0.97, "\n".join(cut), transform=axes.transAxes, ha="right", va="top")
    for axes in grid[1]:
        axes.set_xlabel("minutes")
    for axes in grid[:, 0]:
        axes.set_ylabel("presigns sent in the last 60 s")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="lower center", ncols=4, frameon=False)
    figure.suptitle(f"Presigns that reach Sync, and its budget of {BUDGET} in any 60 s (dashed)")
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    return figure


def _waiting(found: Found) -> Any:
    figure, grid = plt.subplots(2, 2, figsize=(11, 7), sharex=True, sharey=True)
    for axes, design in zip(grid.flat, COLOURS, strict=True):
        one = found["one greedy", design, "sliding"]
        groups = (
            ("the greedy caller, 1,000 files at once", "#b23a48", lambda who: who == GREEDY),
            ("later callers, one file", "#9aa5b1", lambda who: who > MODEST[-1]),
            ("30 callers, 2 files in the first 10 s", "#0b6e4f", lambda who: who in MODEST),
        )
        for label, colour, belongs in groups:
            permits = [permit for permit in one.permits if belongs(permit.caller)]
            axes.scatter(
                [permit.at / 60_000 for permit in permits],
                [(permit.at - permit.asked) / 1000 for permit in permits],
                s=9,
                color=colour,
                label=label,
            )
        served = Counter(permit.caller in MODEST for permit in one.permits)[True]
        last = max(permit.at for permit in one.permits if permit.caller in MODEST) / 1000
        axes.set_title(design, loc="left", fontweight="bold")
        axes.set_title(f"{served} of the 30 callers' 60 by {last:.0f} s", loc="right", fontsize=9)
    for axes in grid[1]:
        axes.set_xlabel("minute of the upload URL")
    for axes in grid[:, 0]:
        axes.set_ylabel("seconds waited")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=3, frameon=False, markerscale=2)
    figure.suptitle("Waiting time by caller, beside one with 1,000 files (a dot is an upload URL)")
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    return figure


def _fairness(found: Found) -> Any:
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5))
    crowds = {
        "steady": "100 callers,\nequal demand",
        "one greedy": "30 callers\nbeside a greedy one",
    }
    for number, (design, colour) in enumerate(COLOURS.items()):
        places = [group + (number - 1.5) * 0.2 for group in range(len(crowds))]
        heights = [found[name, design, "sliding"].fairness for name in crowds]
        bars = left.bar(places, heights, 0.18, color=colour, label=design)
        left.bar_label(bars, fmt="%.2f", fontsize=8, padding=2)
        got = Counter(permit.caller for permit in found["steady", design, "sliding"].permits)
        right.plot(sorted(got[caller] for caller in range(1, 101)), color=colour, linewidth=2)
    left.axhline(0.99, color="black", linestyle="--", linewidth=1)
    left.set_ylim(0, 1.1)
    left.set_xticks(range(len(crowds)), list(crowds.values()))
    left.set_title("Jain's index (dashed: 0.99)", loc="left", fontweight="bold")
    right.set_ylim(bottom=0)
    right.set_xlabel("callers, sorted by their share")
    right.set_ylabel("upload URLs in ten minutes")
    right.set_title("Shares of 100 callers with equal demand", loc="left", fontweight="bold")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, frameon=False)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    return figure
