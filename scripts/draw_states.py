"""Print the states of an upload for docs/architecture.md: `python scripts/draw_states.py`.

The Mermaid diagram shows the table of transitions that the broker uses.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from chalicelib.uploads.models import Status
from chalicelib.uploads.transitions import TRANSITIONS

# A file's upload starts with an upload URL, and a public URL's with the lease.
STARTS = (Status.PENDING, Status.REGISTERING)


def diagram() -> str:
    """Return the diagram: the first states, all transitions, and the final states."""
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
