"""Draw the states of an upload for docs/architecture.md: `python scripts/draw_states.py`.

It prints a Mermaid diagram of the one table that the broker itself keeps to.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from chalicelib.uploads.models import Status
from chalicelib.uploads.transitions import TRANSITIONS

# A file starts with an address to PUT to; a public URL starts with the lease.
STARTS = (Status.PENDING, Status.REGISTERING)


def diagram() -> str:
    """Return the diagram: the starts, every move in the order of the life, the ends."""
    arrows = [("[*]", str(state)) for state in STARTS]
    arrows += [
        (str(state), str(target))
        for state in Status
        for target in Status
        if target in TRANSITIONS[state]
    ]
    arrows += [(str(state), "[*]") for state in Status if not TRANSITIONS[state]]
    lines = [f"    {source} --> {target}" for source, target in arrows]
    return "\n".join(["stateDiagram-v2", *lines]) + "\n"


if __name__ == "__main__":
    print(diagram(), end="")
