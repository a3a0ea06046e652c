"""What the stage `space` has chosen: the configuration of a space that was best on validation rows."""

import pandas as pd

from jam.errors import InputError
from jam.params import Configuration, Objective, load_params
from stages.common import METRICS


def chosen(name: str) -> tuple[Objective, Configuration]:
    """The objective of a trained space, and the configuration that was kept, from metrics/curves/NAME.csv.

    Raises:
        InputError: the stage has not run.
    """
    objective, path = load_params().spaces[name], METRICS / "curves" / f"{name}.csv"
    assert isinstance(objective, Objective)  # as the schema promises
    if not path.is_file():
        raise InputError(f"{path}: no such file; run the stage that writes it (dvc repro)")
    told = pd.read_csv(path)
    place = int(told.loc[told["kept"].astype(bool), "configuration"].iloc[0])
    return objective, (objective.configurations or (Configuration(),))[place]
