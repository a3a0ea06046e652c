"""Tables in Markdown of what representations tell of the true state."""

import pandas as pd

from jam.report.labels import label, metric
from jam.report.tables import Where, grid, number, value, with_interval
from jam.results import select


def reality_table(results: pd.DataFrame) -> str:
    """What each representation tells of the true state: recall by factor, binding, gain, precision, kernels.

    Recalls and kernels stand beside their ceilings, the gain over the same net at init with its interval. Encoders are
    seen at each layer that plays a part, without whitening and further seeds; spaces on either side.
    """
    mine = select(results, experiment="reality", held=None, condition=("best", "aligned", "kept", "latent"))
    mine = mine.drop_duplicates(["subject", "x", "x_layer", "metric", "label", "against"])
    rows: dict[str, Where] = {}
    for space, x, layer, family in (
        mine[["subject", "x", "x_layer", "family"]].drop_duplicates().itertuples(index=False)
    ):
        if pd.notna(space):
            rows[f"{label(space)}, {x}"] = {"subject": space, "x": x}
        else:
            name = label(x) if family == "control" else f"{label(x)}, layer {layer}"
            rows[name] = {"subject": None, "x": x, "x_layer": layer}
    columns: dict[str, Where] = {
        label(name): {"metric": "reality_recall", "label": name, "against": None}
        for name in ("presence", "digit", "colour", "size", "count", "mean")
    }
    columns["gain over init"] = {"metric": "reality_recall", "label": "mean", "against": "init"}
    columns["binding"] = {"metric": "binding", "label": "strict", "against": None}
    columns |= {
        metric(name): {"metric": name, "against": None} for name in ("precision", "reality_kernel", "pmi_kernel")
    }

    def show(rows: pd.DataFrame) -> str:
        row = rows.iloc[0].fillna("")
        if row["against"] or row["metric"] == "binding" or row["label"] == "mean":
            return with_interval(rows)
        return value(rows) if row["ceiling"] == "" or row["label"] else f"{value(rows)} of {number(row['ceiling'])}"

    return grid(mine, "representation", rows, columns, show)


def when_table(when: pd.DataFrame, control: pd.DataFrame | None) -> str:
    """Recall of reality of encoders through their training, and raw alignment with images at its end.

    Args:
        when: of experiment ``when``.
        control: the same of the world in which nothing co-occurs, if it was run.
    """
    trained = select(when, metric="reality_recall", label="mean", condition="training")
    rows: dict[str, Where] = {label(name): {"x": name} for name in trained["x"].unique()}
    stages = sorted(trained["checkpoint"].dropna().unique())
    columns: dict[str, Where] = {
        f"recall at {stage} %": {"source": "here", "against": None, "checkpoint": stage} for stage in stages
    }
    columns["gain"] = {"source": "here", "against": "init", "checkpoint": stages[-1]}
    parts = [trained.assign(source="here")]
    if control is not None:
        told = select(control, metric="reality_recall", label="mean", condition="training")
        parts.append(told.assign(source="control"))
        columns["uniform world: recall at 0 %"] = {"source": "control", "against": None, "checkpoint": 0}
        columns["gain there"] = {"source": "control", "against": "init", "checkpoint": stages[-1]}
    return grid(pd.concat(parts), "encoder", rows, columns, lambda found: with_interval(found))
