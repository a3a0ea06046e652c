"""Judge the hypotheses that params.yaml states, by its rules: supported, refuted or undecided.

Reads   metrics/tables/contrasts.csv, metrics/siblings/reference.csv and downstream.csv
Writes  metrics/hypotheses.csv: a row an effect that a rule looks at, with the verdict on its hypothesis

By hand:  python -m stages.hypotheses
"""

from jam.hypotheses import stated, verdict_table
from jam.io import write_csv
from jam.metrics.verdicts import judge
from jam.params import load_params
from jam.results import read_results
from stages.common import METRICS, SIBLINGS, TABLES, run, say

TABLE = METRICS / "hypotheses.csv"
READ = (TABLES / "contrasts.csv", SIBLINGS / "reference.csv", SIBLINGS / "downstream.csv")


def main() -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    rules = params.hypotheses
    if rules is None:
        write_csv(TABLE, verdict_table([], []))
        return f"no hypotheses are stated; {TABLE} is empty"
    results = read_results(READ)
    found = list(stated(rules, params.align.x.side, results))
    table = verdict_table(found, judge([one.effects for one in found], rules.level))
    write_csv(TABLE, table)
    for told in table.drop_duplicates("id").to_dict("records"):
        say(f"{told['id']}, {told['statement']}: {told['verdict']} (p = {told['p_holm']:.3f})")
    return f"{len(found)} hypotheses judged in {TABLE}"


if __name__ == "__main__":
    run(main)
