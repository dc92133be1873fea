"""Volumes of two MRI scanners, from BIDS to a report by scanner, with and without the constraint.

    python examples/two_scanner_mri.py

Draws synthetic T1-weighted heads of two scanners as BIDS. In the training data 90 % of one scanner's subjects have
atrophy and 10 % of the other's, in the test data half of each. Three trainings: batches at random; batches with every
(site, label) cell; and with these the constraint that errors be equal at both scanners.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from ignite.engine import Events
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedTrainer
from monai.networks.nets import ResNet
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    ToTensord,
)
from monai.utils import set_determinism

from fairpool import EqualizedOdds, FairALMHandler, FairALMLoss
from fairpool.data.cell_batches import CellBatchSampler
from fairpool.data.manifest import read_table
from fairpool.data.synthetic_mri import synthesize_mri
from fairpool.metrics import confusion_by_group, group_report
from fairpool.transforms import EncodeGroupsd, SiteFromSidecard

BATCH_SIZE = 16


def subjects_of(root: Path) -> list[dict]:
    """A BIDS data set as MONAI items: the image's path, the label from participants.tsv, the site from the sidecars."""
    people = read_table(root / "participants.tsv")
    items = [
        {
            "image": str(root / person["participant_id"] / "anat" / f"{person['participant_id']}_T1w.nii.gz"),
            "label": int(person["diagnosis"] == "atrophy"),
            "row": row,
        }
        for row, person in enumerate(people.to_dict("records"), start=2)
    ]
    attach = SiteFromSidecard(fields=["InstitutionName"])  # reads no image
    return [attach(item) for item in items]


def volumes(items: list[dict]) -> CacheDataset:
    """The volumes, decoded once. The scanners store their axes in different orders: "RAS" makes them one."""
    transforms = Compose(
        [
            LoadImaged(keys="image"),
            EnsureChannelFirstd(keys="image"),
            Orientationd(keys="image", axcodes="RAS", labels=None),
            NormalizeIntensityd(keys="image"),
            ToTensord(keys="image", track_meta=False),
        ]
    )
    return CacheDataset(items, transforms, num_workers=0, progress=False)


def network() -> torch.nn.Module:
    """A small residual network over volumes (B, 1, X, Y, Z)."""
    return ResNet(
        "basic",
        layers=[1, 1, 1, 1],
        block_inplanes=[8, 16, 32, 64],
        spatial_dims=3,
        n_input_channels=1,
        conv1_t_size=3,
        conv1_t_stride=2,
        no_max_pool=True,
        num_classes=2,
    )


def train(items: list[dict], data: CacheDataset, method: str, epochs: int, seed: int) -> torch.nn.Module:
    set_determinism(seed)
    model = network()
    sampler = CellBatchSampler(items, BATCH_SIZE, seed=seed)
    if method == "random batches":
        loader = DataLoader(data, batch_size=BATCH_SIZE, shuffle=True, drop_last=True)
    else:
        loader = DataLoader(data, batch_sampler=sampler)
    loss: torch.nn.Module = torch.nn.CrossEntropyLoss()
    handlers = []
    if method == "FairALM":
        # The loss divides by what the batches hold: the counts are the sampler's, not the pool's.
        loss = FairALMLoss(loss, EqualizedOdds(), num_groups=2, eta=0.1, counts=sampler.cell_counts())
        handlers = [FairALMHandler(loss, group_key="site")]
    optimizer = torch.optim.AdamW(model.parameters(), 0.003, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(sampler))
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        epoch_length=len(sampler),  # as many steps for each method
        train_data_loader=loader,
        network=model,
        optimizer=optimizer,
        loss_function=loss,
        train_handlers=handlers,
    )
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda _: schedule.step())
    trainer.run()
    return model


@torch.no_grad()
def test(model: torch.nn.Module, data: CacheDataset):
    """Error, FNR and FPR by site on the test data."""
    model.eval()
    labels, predictions, sites = [], [], []
    for batch in DataLoader(data, batch_size=BATCH_SIZE):
        predictions.append(model(batch["image"]).argmax(dim=1))
        labels.append(batch["label"])
        sites.append(batch["site"])
    return group_report(confusion_by_group(torch.cat(labels), torch.cat(predictions), torch.cat(sites), num_groups=2))


def main(subjects: int = 150, test_subjects: int = 150, epochs: int = 20, seed: int = 0) -> dict:
    """Reports by method. The numbers of subjects are those of each scanner."""
    with tempfile.TemporaryDirectory() as folder:
        roots = [Path(folder) / name for name in ("train", "test")]
        for root, number, confounding, first in zip(
            roots, (subjects, test_subjects), (0.8, 0.0), (1, 1001), strict=True
        ):
            synthesize_mri(
                root,
                subjects_per_site={"alpine": number, "bayside": number},
                confounding=confounding,
                atrophy=2.0,
                seed=seed,
                first_number=first,
            )
        train_items, test_items = map(subjects_of, roots)
        encode = EncodeGroupsd.fit(train_items)
        train_items, test_items = ([encode(item) for item in items] for items in (train_items, test_items))
        train_data, test_data = volumes(train_items), volumes(test_items)
    reports = {}
    print(f"synthetic; {len(train_items)} subjects to train on, {len(test_items)} to test; in percent")
    print(f"{'':16}error    DEO   FPR gap   missed at {' / '.join(encode.vocabulary.names)}")
    for method in ("random batches", "cell batches", "FairALM"):
        reports[method] = report = test(train(train_items, train_data, method, epochs, seed), test_data)
        error, deo, fpr_gap = (100 * rate for rate in (report.overall_error, report.deo, report.fpr_gap))
        missed = " / ".join(f"{100 * rate:.1f}" for rate in report.fnr.tolist())
        print(f"{method:16}{error:5.1f}  {deo:5.1f}   {fpr_gap:7.1f}   {missed}")
    return reports


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subjects", type=int, default=150, help="of each scanner, to train on")
    parser.add_argument("--test-subjects", type=int, default=150, help="of each scanner, to test on")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    main(**vars(parser.parse_args()))
