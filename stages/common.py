"""What every stage shares: its paths, how it starts, how it ends."""

import argparse
import errno
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from jam.distributed import launched
from jam.errors import InputError
from jam.io import write_json

WORLD = Path("data/world")
PRETRAIN = Path("data/pretrain")
ENCODERS = Path("data/encoders")
FEATURES = Path("data/features")
TOKENS = Path("data/tokens")
SPACES = Path("data/spaces")
TOKEN_SPACES = Path("data/token_spaces")  # of adapters that read tokens
CAPTIONS = Path("data/captions")
PAIRS = Path("data/pairs")
MULTIMODAL_PAIRS = Path("data/multimodal_pairs/pairs.parquet")
SHIFTED = "shifted"  # a domain beside the world's own: folders of its world and of its features
MULTIMODAL = Path("data/multimodal")  # models of two towers, each tower an encoder
MULTIMODAL_FEATURES = Path("data/multimodal_features")
METRICS = Path("metrics")
TABLES = METRICS / "tables"
SIBLINGS = METRICS / "siblings"  # tables of what goes beyond the paper
PLOTS = Path("plots")
SCRATCH = Path("scratch")
LOGS = Path("logs")
UNIFORM = Path("worlds/uniform/metrics/tables/when.csv")  # the control world, beside the one at the root


def say(line: str) -> None:
    """Print one line of progress at once, also into a pipe."""
    print(line, flush=True)


def require_listed(what: str, name: str, names: Collection[str]) -> None:
    """Refuse a name that is not among those of params.yaml: its outputs would be those of another stage, or nobody's.

    Raises:
        InputError: it is none of them.
    """
    if name not in names:
        raise InputError(f"{what}: got {name!r}, expected one of {list(names)}")


def keyed(key: Any, function: Callable[..., Any], *given: Any) -> tuple[Any, Any]:
    """What a function gives, under a name, as processes end in any order."""
    return key, function(*given)


def run(main: Callable[..., str], every_process: bool = False, **arguments: str) -> None:
    """Run a stage, say where its results are, and note time and memory in ``logs/``.

    ``main`` takes the command line: of its ``arguments``, each with a line for ``--help``, booleans are flags and the
    others follow one another, of the types that it declares. The rest of ``--help`` is the docstring of its module.

    A bad input or a full disk ends with one line on stderr and exit status 1; what the stage had written before
    stays as it was. Times are facts of a machine and not results: they go to ``logs/``, which nobody tracks.

    Under a launcher of several processes a stage runs in the first alone, unless it is for ``every_process``.
    """
    first = launched().first
    if not (first or every_process):
        return
    name = "-".join([Path(sys.argv[0]).stem, *(arg for arg in sys.argv[1:] if not arg.startswith("-"))])
    signal.signal(signal.SIGTERM, _stop)
    given = _command_line(main, arguments)
    start = time.perf_counter()
    try:
        where = main(**given)
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
    facts = {"seconds": round(seconds, 2), "peak_rss_mib": round(peak), "cpus": os.cpu_count(), "files": code()}
    write_json(LOGS / f"{name}.json", facts)
    say(f"{name}: {where} ({seconds:.1f} s, {peak:.0f} MiB)")


def code() -> list[str]:
    """The files of this project that are loaded, relative to it: what a stage's result may hang on."""
    root = Path(__file__).resolve().parents[1]
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    paths = [Path(file).resolve() for file in files if file]
    mine = (path.relative_to(root) for path in paths if path.is_relative_to(root))
    return sorted({path.as_posix() for path in mine if path.parts[0] in ("jam", "stages")})


def _command_line(main: Callable[..., str], arguments: dict[str, str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        description=sys.modules[main.__module__].__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, text in arguments.items():
        if main.__annotations__[name] is bool:
            parser.add_argument(f"--{name}", action="store_true", help=text)
        else:
            parser.add_argument(name, type=main.__annotations__[name], help=text)
    return vars(parser.parse_args())


def _stop(number: int, frame: object) -> None:
    """End on SIGTERM as on Ctrl-C: a launcher sends it when another process has died, a cluster when time is up."""
    raise KeyboardInterrupt(signal.Signals(number).name)
