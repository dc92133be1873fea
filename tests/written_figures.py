"""Finished runs in a real MLflow store that hold figures and parameters, and nothing else."""

from fairpool.tracking import log_metrics

FIGURES = {
    "val/error": 0.2,
    "val/deo": 0.1,
    "val/fpr_gap": 0.2,
    "val/selection_gap": 0.15,
    "val/worst_group_error": 0.3,
    "test/error": 0.25,
    "test/deo": 0.12,
    "test/fpr_gap": 0.22,
    "test/selection_gap": 0.13,
    "test/worst_group_error": 0.31,
}
FAIR_GAPS = {"a": {"val/deo": 0.05, "val/fpr_gap": 0.3}, "b": {"val/deo": 0.3, "val/fpr_gap": 0.05}}
"""By which a and b differ: the one has equal misses, the other equal false alarms."""


def write_figures(
    store, experiment, methods, *, constraint, study="abc", seed=0, figures=None, configuration=None, **params
):
    """A run a method of one seed in an experiment, made where it is not there; returns their ids."""
    found = store.client.get_experiment_by_name(experiment)
    experiment_id = found.experiment_id if found else store.client.create_experiment(experiment)
    ids = []
    for method in methods:
        tags = {"study": study, "fairpool.kind": "run"}
        tags |= {"configuration": configuration} if configuration else {}
        run_id = store.client.create_run(experiment_id, run_name=f"{method}-seed{seed}", tags=tags).info.run_id
        about = {"method": method, "seed": seed, "constraint": constraint, "pipeline": "p", "data": "d", **params}
        for key, value in about.items():
            store.client.log_param(run_id, key, value)
        log_metrics(store.client, run_id, FIGURES | FAIR_GAPS.get(method, {}) | (figures or {}))
        store.client.set_terminated(run_id)
        ids.append(run_id)
    return ids
