"""An ordinary MONAI training script, and the same script with fairpool's two lines.

    python examples/two_lines.py

Two synthetic hospitals, each image two numbers: one faint sign of the disease, one strong sign of the scanner. In the
training data the scanner nearly gives the diagnosis away; in the test data it says nothing.
"""

import argparse

import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer
from monai.utils import set_determinism

from fairpool import EqualOpportunity, FairALMHandler, FairALMLoss
from fairpool.metrics import confusion_by_group, group_report


def hospitals(num_samples: int, confounding: float, seed: int) -> list[dict]:
    """Samples with ``image`` (2,), ``label`` and ``site``; at confounding c, positives are 0.5 +- c/2 of a site."""
    generator = torch.Generator().manual_seed(seed)
    site = torch.randint(0, 2, (num_samples,), generator=generator)
    prevalence = 0.5 + confounding * (site - 0.5)
    label = (torch.rand(num_samples, generator=generator) < prevalence).long()
    noise = torch.randn(num_samples, 2, generator=generator)
    image = torch.stack([(label - 0.5) * 1.5, (site - 0.5) * 4.0], dim=1) + noise
    return [{"image": x, "label": y, "site": s} for x, y, s in zip(image, label, site, strict=True)]


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))


def train_ordinary(train_data: list[dict], epochs: int) -> torch.nn.Module:
    """The script a MONAI user has."""
    set_determinism(0)
    model = network()
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=DataLoader(Dataset(train_data), batch_size=64, shuffle=True),
        network=model,
        optimizer=torch.optim.Adam(model.parameters(), 0.01),
        loss_function=torch.nn.CrossEntropyLoss(),
    )
    trainer.run()
    return model


def train_fair(train_data: list[dict], epochs: int) -> torch.nn.Module:
    """The same script with the two lines."""
    set_determinism(0)
    model = network()
    loss = FairALMLoss(torch.nn.CrossEntropyLoss(), EqualOpportunity(), num_groups=2, eta=0.1)  # line 1
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=DataLoader(Dataset(train_data), batch_size=64, shuffle=True),
        network=model,
        optimizer=torch.optim.Adam(model.parameters(), 0.01),
        loss_function=loss,
        train_handlers=[FairALMHandler(loss, group_key="site")],  # line 2
    )
    trainer.run()
    return model


def test(model: torch.nn.Module, data: list[dict]) -> dict[str, float]:
    """Error and DEO on the test data."""
    image, label, site = (torch.stack([item[key] for item in data]) for key in ("image", "label", "site"))
    with torch.no_grad():
        predictions = model(image).argmax(dim=1)
    report = group_report(confusion_by_group(label, predictions, site, num_groups=2))
    return {"error": report.overall_error, "deo": report.deo}


def main(epochs: int = 10) -> dict[str, dict[str, float]]:
    train_data, test_data = hospitals(2000, confounding=0.8, seed=0), hospitals(4000, confounding=0.0, seed=1)
    results = {
        "ordinary": test(train_ordinary(train_data, epochs), test_data),
        "two lines": test(train_fair(train_data, epochs), test_data),
    }
    for name, figures in results.items():
        print(f"{name:10} test error {100 * figures['error']:4.1f} %   DEO {100 * figures['deo']:4.1f} points")
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    main(parser.parse_args().epochs)
