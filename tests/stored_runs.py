"""Finished runs in a real MLflow store, written by hand: decisions of which the errors are known."""

import json

import pandas as pd

SITES = ("Basel", "Bern")


def predictions(wrong, *, sites=SITES, cases=10, seed=0):
    """Rows of predictions.parquet.

    Args:
        wrong: {(split, site number, label): number of wrong decisions}; others have none.
        cases: of each (split, site, label), or a mapping from (split, site number, label).
        seed: of the split: another one has other validation and test rows.
    """
    rows = []
    for split in ("validation", "test"):
        for number, site in enumerate(sites):
            for label in (0, 1):
                cell = (split, number, label)
                total = cases.get(cell, 0) if isinstance(cases, dict) else cases
                for case in range(total):
                    is_wrong = case < wrong.get(cell, 0)
                    row = 10_000 * (split == "test") + 1000 * number + 100 * label + case + 100_000 * seed
                    probability = 0.9 if (label == 1) != is_wrong else 0.1
                    rows.append([row + 7, row, site, split, label, probability])
    return pd.DataFrame(rows, columns=["patient", "row", "site", "split", "label", "probability"])


def write_run(client, experiment_id, table, folder, *, name, status="FINISHED", sites=SITES, study="abc", **params):
    """A run as `fairpool run` leaves it, as far as its artifacts go; ``table`` None stores none. Returns its id."""
    tags = {"study": study, "fairpool.kind": "run"}
    run = client.create_run(experiment_id, run_name=name, tags=tags)
    about = {"method": "fairalm", "seed": 0, "constraint": "equal_opportunity", "pipeline": "p", "data": "d", **params}
    for key, value in about.items():
        client.log_param(run.info.run_id, key, value)
    if table is not None:
        table.to_parquet(folder / "predictions.parquet", index=False)
        client.log_artifact(run.info.run_id, str(folder / "predictions.parquet"))
        slugs = [site.lower() for site in sites]
        client.log_text(run.info.run_id, json.dumps({"sites": list(sites), "slugs": slugs}), "sites.json")
    client.set_terminated(run.info.run_id, status)
    return run.info.run_id


def rates(table, weights=None):
    """Expected FNR, FPR and error by (rate, split, site) of tables weighted by their probability: a plain loop."""
    tables = table if isinstance(table, list) else [table]
    weights = weights or [1.0]
    expected = {}
    for one, weight in zip(tables, weights, strict=True):
        cells = {}
        for row in one.to_dict("records"):
            wrong = (row["probability"] > 0.5) != (row["label"] == 1)
            keys = ["fnr" if row["label"] == 1 else "fpr", "error"]
            for rate in keys:
                for site in (row["site"], None):
                    cells.setdefault((rate, row["split"], site), []).append(wrong)
        for key, values in cells.items():
            expected[key] = expected.get(key, 0.0) + weight * sum(values) / len(values)
    return expected
