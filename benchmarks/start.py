"""The start of a stage: as a process of its own, and forked from one that has imported the libraries (`stages.warm`).

python -m benchmarks.start
"""

import os
import subprocess
import sys

from benchmarks.harness import Options, Row, chosen, parser, table

ROUNDS = 5
COLUMNS = ("what is imported", "a process of its own, s", "forked, s", "own / forked")
TEXT = f"""## Start of a stage

A stage that imports what it needs and does nothing, least of {ROUNDS} in turns: started by itself, and under
`python -m stages.warm`, as `make repro` does it. Beside it DVC takes .1 to .2 ms for each line of dvc.lock, which it
reads and writes around every stage."""
IMPORTED = {
    "features of an encoder": "jam.encoders.encoder,jam.features.extract",
    "adapters": "jam.align.train",
    "tables": "jam.results",
}
SCRIPT = """
import os, subprocess, sys, time
words = sys.argv[1:-1], os.environ["LAUNCH"].split() + sys.argv[2:-1]
for _ in range(int(sys.argv[-1]) + 1):  # the first round warms up, and waits for the server's own imports
    for each in words:
        start = time.perf_counter()
        subprocess.run(each, check=True)
        print(time.perf_counter() - start, end=" ")
    print()
"""


def section(options: Options) -> str:
    """This benchmark's part of the table file; of processes, hence of the CPU alone."""
    rounds = 1 if options.quick else ROUNDS
    return f"{TEXT}\n\n{table(COLUMNS, (measure(name, rounds) for name in IMPORTED))}"


def measure(name: str, rounds: int) -> Row:
    """One row of the table."""
    environment = {key: value for key, value in os.environ.items() if key != "LAUNCH"}
    words = [sys.executable, "-m", "benchmarks.start", "--import", IMPORTED[name], str(rounds)]
    warm = [sys.executable, "-m", "stages.warm", sys.executable, "-c", SCRIPT]
    told = subprocess.run([*warm, *words], env=environment, check=True, capture_output=True, text=True).stdout
    times = [[float(time) for time in line.split()] for line in told.splitlines()[1:]]
    own, forked = map(min, zip(*times, strict=True))
    return [name, f"{own:.2f}", f"{forked:.2f}", f"{own / forked:.1f}"]


if __name__ == "__main__":
    given = parser(__doc__)
    given.add_argument("--import", dest="modules", help="import these and end")
    arguments = given.parse_args()
    if arguments.modules:
        for module in arguments.modules.split(","):
            __import__(module)
    else:
        print(section(chosen(arguments)))
