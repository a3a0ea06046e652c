"""What every stage shares: its paths, how it starts, how it ends."""

import errno
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from jam.distributed import launched
from jam.errors import InputError
from jam.io import write_json

PAIRS = Path("data/pairs")
PRETRAIN = Path("data/pretrain")
ENCODERS = Path("data/encoders")
FEATURES = Path("data/features")
ADAPTERS = Path("data/adapters")
METRICS = Path("metrics")
PLOTS = Path("plots")
SCRATCH = Path("scratch")
LOGS = Path("logs")


def say(line: str) -> None:
    """Print one line of progress at once, also into a pipe."""
    print(line, flush=True)


def run(main: Callable[[], str], every_process: bool = False) -> None:
    """Run a stage, say where its results are, and note time and memory in ``logs/``.

    A bad input or a full disk ends with one line on stderr and exit status 1; what the stage had written before
    stays as it was. Times are facts of a machine and not results: they go to ``logs/``, which nobody tracks.

    Under a launcher of several processes a stage runs in the first alone, unless it is for ``every_process``.
    """
    first = launched().first
    if not (first or every_process):
        return
    name = "-".join([Path(sys.argv[0]).stem, *(arg for arg in sys.argv[1:] if not arg.startswith("-"))])
    signal.signal(signal.SIGTERM, _stop)
    start = time.perf_counter()
    try:
        where = main()
    except InputError as error:
        sys.exit(f"{name}: {error}")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        sys.exit(f"{name}: the disk is full ({error.filename or 'while writing'}); free some space and run again")
    except KeyboardInterrupt as error:
        sys.exit(f"{name}: interrupted by {str(error) or 'Ctrl-C'}; nothing half-written is left, run again to go on")
    if not first:
        return
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
    write_json(
        LOGS / f"{name}.json", {"seconds": round(seconds, 2), "peak_rss_mib": round(peak), "cpus": os.cpu_count()}
    )
    say(f"{name}: {where} ({seconds:.1f} s, {peak:.0f} MiB)")


def _stop(number: int, frame: object) -> None:
    """End on SIGTERM as on Ctrl-C: a launcher sends it when another process has died, a cluster when time is up."""
    raise KeyboardInterrupt(signal.Signals(number).name)
