"""One cell of several devices, in processes of its own: ``python -m xmit.study.cell CONFIG IDENTITY PARENT``."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path


def main(config: str, identity: str, parent: int) -> int:
    """Carry it out; ends when the study does.

    Args:
        config: The cell's resolved config.
        identity: What ``done.json`` shall say.
        parent: The study's process.

    Returns:
        The exit code.
    """
    if "LOCAL_RANK" not in os.environ:  # the first process; Lightning starts the others, which follow it
        with contextlib.suppress(OSError, AttributeError):  # Linux
            ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))  # PR_SET_PDEATHSIG
            if os.getppid() != parent:
                return 1
    from xmit.errors import XmitError
    from xmit.interruption import Interrupted
    from xmit.progress import quiet
    from xmit.study.cell_cli import run_cell

    quiet()
    try:
        run_cell(Path(config), identity)
    except Interrupted as error:
        return 128 + error.signum
    except XmitError as error:
        sys.stderr.write(f"xmit: {' '.join(str(error).split())}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
