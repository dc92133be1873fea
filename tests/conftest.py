"""Every test runs on one thread from a fixed seed; engines that train a small linear network on tiny data."""

from types import SimpleNamespace

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def items():
    """Forty-eight samples of three sites as MONAI items: twelve batches of four."""
    images, labels, sites = torch.randn(48, 5), torch.randint(0, 2, (48,)), torch.randint(-1, 3, (48,))
    return [
        {"image": image, "label": label, "site": site}
        for image, label, site in zip(images, labels.tolist(), sites.tolist(), strict=True)
    ]


@pytest.fixture
def train(items):
    """A trainer that writes down each iteration: ``steps`` of samples, multipliers, weights and loss."""
    from ignite.engine import Events
    from monai.engines import SupervisedTrainer
    from monai.engines.utils import IterationEvents
    from oracles import samples_of
    from torch.utils.data import DataLoader

    def make(loss, handlers, *, data=None, network=None, optimizer=None, fused=None, epochs=1, key="site", **options):
        network = network or torch.nn.Linear(5, 2)
        optimizer = optimizer or torch.optim.SGD(network.parameters(), lr=0.5, fused=fused)
        if not isinstance(data, DataLoader):
            data = DataLoader(items if data is None else data, batch_size=4)
        trainer = SupervisedTrainer(
            device="cpu",
            max_epochs=epochs,
            train_data_loader=data,
            network=network,
            optimizer=optimizer,
            loss_function=loss,
            train_handlers=handlers,
            **options,
        )
        trainer.steps = []

        def write_samples(engine):
            output, batch = engine.state.output, engine.state.batch
            sites = torch.as_tensor(batch[key]) if key in batch else torch.full((len(output["pred"]),), -1)
            samples = samples_of(output["pred"], output["label"], sites)
            trainer.steps.append(SimpleNamespace(samples=samples, loss=float(output["loss"].detach())))

        def write_state(_):
            trainer.steps[-1].multipliers = loss.multipliers.clone() if hasattr(loss, "multipliers") else None
            trainer.steps[-1].weights = network.weight.detach().clone()

        trainer.add_event_handler(IterationEvents.LOSS_COMPLETED, write_samples)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, write_state)
        return trainer

    return make


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory):
    """No test reads or fills the user's own image cache; tables are printed wide."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("COLUMNS", "200")
        yield


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """A real sqlite MLflow store, made once: making one takes seconds. Its ``folder`` is a fairpool output folder."""
    from fairpool.tracking import default_tracking_uri, open_experiment

    folder = tmp_path_factory.mktemp("runs")
    uri = default_tracking_uri(folder)
    client, experiment_id = open_experiment(uri, "tests")
    return SimpleNamespace(folder=folder, uri=uri, client=client, experiment_id=experiment_id)


@pytest.fixture(scope="session")
def small_study(tmp_path_factory, store):
    """Two seeds of two methods over two hospitals, run once through the command line; see `small_study.run_study`."""
    from small_study import run_study

    return run_study(tmp_path_factory.mktemp("hospitals"), store)


@pytest.fixture
def cpu_scaler(monkeypatch):
    """MONAI makes a CUDA scaler at each run, which is switched off where there is no GPU."""
    monkeypatch.setattr(torch.cuda.amp, "GradScaler", lambda: torch.amp.GradScaler("cpu", init_scale=16.0))
