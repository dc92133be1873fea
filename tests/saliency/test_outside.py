"""Evidence at a planted marker is told from evidence in the body (BAD-INPUT row 32)."""

import numpy as np
import pytest
import torch
from torch import nn

from fairpool.data import synthesize_tuberculosis
from fairpool.data.radiograph import read_radiograph
from fairpool.saliency import evidence_maps, outside_table
from fairpool.saliency.outside import body_mask, border_mask, evidence_in, outside_notes

SIZE = 64
BODY = (slice(10, 60), slice(12, 52))
MARKER = (slice(2, 6), slice(57, 62))


def radiographs(number=4, marker=0.9):
    """A grey body with dark lungs on black, noise everywhere, and a bright marker in the corner."""
    images = 0.02 * np.random.default_rng(0).random((number, 1, SIZE, SIZE), np.float32)
    images[:, 0, *BODY] += 0.6
    images[:, 0, 15:45, 16:28] -= 0.35
    images[:, 0, 15:45, 36:48] -= 0.35
    images[:, 0, *MARKER] += marker
    return torch.from_numpy(images)


class Threshold(nn.Module):
    """Evidence for class 1 is how far each place is over a grey value."""

    def __init__(self, above):
        super().__init__()
        self.layer4 = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())
        self.fc = nn.Linear(1, 2, bias=False)
        with torch.no_grad():
            self.layer4[0].weight.fill_(1.0)
            self.layer4[0].bias.fill_(-above)
            self.fc.weight.copy_(torch.tensor([[0.0], [1.0]]))

    def forward(self, images):
        return self.fc(self.layer4(images).mean(dim=(2, 3)))


def test_the_body_with_its_lungs_is_body_and_ground_and_marker_are_not():
    mask = body_mask(radiographs(1)[0, 0].numpy())
    expected = np.zeros((SIZE, SIZE), bool)
    expected[BODY] = True
    assert (mask & expected).sum() / (mask | expected).sum() > 0.9
    assert mask[15:45, 16:48].all()
    assert not mask[MARKER].any()


def test_lungs_of_drawn_patients_lie_in_the_body(tmp_path):
    root = synthesize_tuberculosis(tmp_path / "tree", images_per_site={"montgomery": 6}, size=128, num_workers=1)
    for file in sorted((root / "MontgomerySet" / "CXR_png").glob("*.png")):
        mask = body_mask(read_radiograph(file, 128).pixels)
        for side in ("leftMask", "rightMask"):
            lung = read_radiograph(root / "MontgomerySet" / "ManualMask" / side / file.name, 128).pixels > 0.5
            assert mask[lung].mean() > 0.9


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_a_constant_image_is_body_everywhere_so_that_nothing_is_said(value):
    assert body_mask(np.full((8, 8), value)).all()
    table = outside_table(torch.full((2, 1, 8, 8), value), {"a": torch.rand(2, 8, 8)})
    assert table["images"].tolist() == [0, 2]
    assert np.isnan(table["evidence"][0])


def test_a_network_that_reads_the_marker_is_flagged_and_one_that_reads_the_body_is_not():
    images = radiographs()
    maps = {
        "marker": evidence_maps(Threshold(0.7), images),  # the marker alone is so bright
        "body": evidence_maps(Threshold(0.1), radiographs(marker=0.0)),
    }
    table = outside_table(images, maps).set_index(["method", "region"])
    assert table["evidence"]["marker", "outside the body"] == pytest.approx(1)
    assert table["above"]["marker", "outside the body"] == len(images)
    assert table["evidence"]["body", "outside the body"] < 0.1
    assert table["above"]["body"].sum() == 0
    notes = outside_notes(table.reset_index())
    assert len(notes) == 2
    assert all(note.startswith("marker: 100 % of the evidence lies ") for note in notes)
    assert "outside the body, " in notes[0]
    assert "in the border, 34 % of the image (4 images)" in notes[1]


def test_an_even_map_is_no_fault_anywhere():
    even = torch.ones(4, SIZE, SIZE)
    table = outside_table(radiographs(), {"even": even, "against": -even})
    assert np.allclose(table["evidence"], table["area"])
    assert table["above"].sum() == 0
    assert not outside_notes(table)


def test_a_map_of_nothing_counts_for_nothing():
    maps = torch.rand(4, SIZE, SIZE)
    maps[1] = 0
    assert np.isnan(evidence_in(maps.numpy(), border_mask((SIZE, SIZE)))).tolist() == [False, True, False, False]
    assert outside_table(radiographs(), {"a": maps})["images"].tolist() == [3, 3]
    table = outside_table(radiographs(), {"a": torch.zeros(4, SIZE, SIZE)})
    assert table["images"].tolist() == [0, 0]
    assert not outside_notes(table)


def test_of_photographs_only_the_border_is_judged():
    table = outside_table(torch.rand(2, 3, 16, 16), {"a": torch.rand(2, 16, 16)})
    assert table["region"].tolist() == ["border"]


def test_an_image_that_the_body_fills_is_left_out():
    images = radiographs()
    images[0] = 0.6
    images[0, 0, :4, :4] = 0.0  # a dark corner is no ground to speak of
    assert outside_table(images, {"a": torch.rand(4, SIZE, SIZE)})["images"].tolist() == [3, 4]
