"""The published layout is read as it is; what is cut off, edited or missing is named by row and file."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from fairpool.data.celeba import CELEBA_ATTRIBUTES, attribute_words, pool_celeba, read_celeba
from fairpool.data.synthetic_celeba import synthesize_celeba
from fairpool.errors import DataError


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return synthesize_celeba(tmp_path_factory.mktemp("celeba") / "tree", num_images=60)


@pytest.fixture
def tree(drawn, tmp_path):
    """A copy that a test may damage; images are linked."""
    return shutil.copytree(
        drawn,
        tmp_path / "tree",
        copy_function=lambda a, b: shutil.copy(a, b) if str(a).endswith("txt") else os.link(a, b),
    )


def rewrite(file, change):
    lines = file.read_bytes().decode().split("\n")
    change(lines)
    file.write_bytes("\n".join(lines).encode())


def slow_table(root):
    """The attributes by plain Python, after the publisher's description."""
    lines = (root / "list_attr_celeba.txt").read_text().splitlines()
    names, rows = lines[1].split(), [line.split() for line in lines[2:]]
    return {row[0]: {name: int(value) for name, value in zip(names, row[1:], strict=True)} for row in rows}


def test_the_attributes_are_the_publishers_in_their_order():
    assert len(CELEBA_ATTRIBUTES) == 40
    assert (CELEBA_ATTRIBUTES[2], CELEBA_ATTRIBUTES[20], CELEBA_ATTRIBUTES[39]) == ("Attractive", "Male", "Young")
    assert list(CELEBA_ATTRIBUTES) == sorted(CELEBA_ATTRIBUTES)


def test_every_value_is_the_files(drawn):
    celeba = read_celeba(drawn)
    table = celeba.table.set_index("name")
    expected = slow_table(drawn)
    assert list(table.index) == list(expected)
    for name, values in expected.items():
        assert {key: 2 * int(table.loc[name, key]) - 1 for key in values} == values
    sections = dict(line.split() for line in (drawn / "list_eval_partition.txt").read_text().splitlines())
    words = {"0": "training", "1": "validation", "2": "test"}
    assert table["section"].to_dict() == {name: words[number] for name, number in sections.items()}
    persons = dict(line.split() for line in (drawn / "identity_CelebA.txt").read_text().splitlines())
    assert table["patient"].to_dict() == {name: f"person {number}" for name, number in persons.items()}
    assert all(os.path.isfile(path) for path in celeba.paths())


def test_the_pool_has_the_official_sections_and_the_words_of_the_attributes(drawn):
    pool = pool_celeba(drawn, target="Smiling", protected="Young")
    expected = slow_table(drawn)
    assert pool.vocabulary.names == ("old", "young")
    assert pool.label_names == ("not smiling", "smiling")
    assert sum(len(pool.section(name)) for name in ("training", "validation", "test")) == 60
    for item in pool.section("test"):
        values = expected[os.path.basename(item["image"])]
        assert (item["label"], item["site_name"]) == (
            int(values["Smiling"] == 1),
            attribute_words("Young")[values["Young"] == 1],
        )
    assert pool.notes() == []


def test_another_seed_keeps_the_official_sections(drawn):
    first, second = (pool_celeba(drawn, seed=seed).section("training") for seed in (0, 1))
    assert [item["row"] for item in first] == [item["row"] for item in second]


def test_the_publishers_archive_folders_carriage_returns_and_spaces_are_read_alike(drawn, tree):
    for folder in ("Anno", "Eval", "Img"):
        (tree / folder).mkdir()
    for name, folder in (
        ("list_attr_celeba.txt", "Anno"),
        ("identity_CelebA.txt", "Anno"),
        ("list_eval_partition.txt", "Eval"),
    ):
        text = (tree / name).read_text().replace("\n", "   \r\n")
        (tree / name).unlink()
        (tree / folder / name).write_bytes(text.encode())
    (tree / "img_align_celeba").rename(tree / "Img" / "img_align_celeba")
    table = read_celeba(tree).table
    assert table.equals(read_celeba(drawn).table)


def test_without_identities_each_image_is_a_person_and_the_notes_say_so(tree):
    (tree / "identity_CelebA.txt").unlink()
    pool = pool_celeba(tree)
    assert pool.records["patient"].nunique() == 60
    assert any("each image counts as a person" in note for note in pool.notes())


def set_cell(number, place, value):
    def change(lines):
        cells = lines[number].split()
        cells[place] = value
        lines[number] = " ".join(cells)

    return change


def drop(number):
    return lambda lines: lines.pop(number)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("list_attr_celeba.txt", drop(5), "announces 60 images in line 1 and lists 59"),
        ("list_attr_celeba.txt", set_cell(0, 0, "sixty"), 'line 1 .* must be the number of images, got "sixty"'),
        ("list_attr_celeba.txt", set_cell(1, 20, "Gender"), "40 names, unknown: Gender; missing: Male"),
        (
            "list_attr_celeba.txt",
            set_cell(4, 3, "0"),
            r'1 images have an attribute .* \(row 3\), such as Attractive: "0"',
        ),
        ("list_attr_celeba.txt", set_cell(4, 3, "x"), r'row 3\), such as Attractive: "x"'),
        (
            "list_attr_celeba.txt",
            set_cell(4, 3, "1 1"),
            r"1 lines of the attribute file do not have 41 columns \(row 3\)",
        ),
        ("list_attr_celeba.txt", set_cell(4, 3, "1 1 1"), "more than 41 columns"),
        ("list_attr_celeba.txt", set_cell(4, 3, ""), r"do not have 41 columns \(row 3\)"),
        ("list_attr_celeba.txt", set_cell(4, 0, "000001.jpg"), r"1 images stand twice in the attribute file \(row 3\)"),
        (
            "list_attr_celeba.txt",
            set_cell(4, 0, "../x.jpg"),
            r"do not begin with an image such as 000001.jpg \(row 3\)",
        ),
        ("list_eval_partition.txt", drop(7), r"1 of 60 images are not in the partition file \(row 8\)"),
        ("list_eval_partition.txt", set_cell(7, 1, "3"), r"name no section \(row 8\): expected 0, 1 or 2, found 3"),
        ("list_eval_partition.txt", set_cell(7, 1, "test"), r"hold no whole number \(row 8\)"),
        (
            "list_eval_partition.txt",
            lambda lines: lines.insert(3, "000999.jpg 0"),
            "lists 1 images that have no attributes",
        ),
        ("identity_CelebA.txt", drop(7), r"1 of 60 images are not in the identity file \(row 8\)"),
    ],
)
def test_a_damaged_file_is_refused_with_its_row(tree, file, change, message):
    rewrite(tree / file, change)
    with pytest.raises(DataError, match=message) as caught:
        read_celeba(tree)
    assert str(tree) not in str(caught.value)


def test_an_empty_partition_is_refused(tree):
    (tree / "list_eval_partition.txt").write_text("")
    with pytest.raises(DataError, match="60 of 60 images are not in the partition file"):
        read_celeba(tree)


@pytest.mark.parametrize("lines", [2, 1, 0])
def test_an_attribute_file_that_ends_early_is_refused(tree, lines):
    file = tree / "list_attr_celeba.txt"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:lines]))
    with pytest.raises(DataError, match=r"announces 60 .* lists 0|line 2 .* has 0 names|line 1 .* number of images"):
        read_celeba(tree)


@pytest.mark.parametrize("name", ["list_attr_celeba.txt", "list_eval_partition.txt", "img_align_celeba"])
def test_a_missing_part_is_named(tree, name):
    (tree / name).rename(tree / "elsewhere")
    with pytest.raises(DataError, match=f'there is no "{name}/?" in the data folder'):
        read_celeba(tree)


def test_missing_images_are_counted_and_named_by_row(tree):
    for number in (3, 9):
        (tree / "img_align_celeba" / f"{number:06d}.jpg").unlink()
    with pytest.raises(DataError, match=r"2 of 60 images are not in img_align_celeba \(rows 3, 9\)"):
        read_celeba(tree)


def test_a_person_in_two_sections_is_refused(tree):
    rewrite(tree / "identity_CelebA.txt", set_cell(59, 1, "1"))
    with pytest.raises(DataError, match=r"^1 persons of identity_CelebA.txt .* \(row 60 beside") as caught:
        pool_celeba(tree)
    assert "exclude_rows=[60]. If the file is wrong, take identity_CelebA.txt away" in str(caught.value)
    pool = pool_celeba(tree, exclude_rows=[60])
    assert len(pool.records) == 59
    assert "exclude_rows leaves out 1 rows" in pool.notes()
    (tree / "identity_CelebA.txt").unlink()
    assert len(pool_celeba(tree).records) == 60


def test_of_a_person_in_two_sections_the_fewest_images_are_to_be_left_out(tree):
    def change(lines):  # the persons' numbers: 1 has images 1 to 4 (training) and 59, 60 (test)
        for number in (0, 1, 2, 3, 58, 59):
            set_cell(number, 1, "1")(lines)

    rewrite(tree / "identity_CelebA.txt", change)
    with pytest.raises(DataError, match=r"\(rows 59, 60 beside .*: exclude_rows=\[59,60\]\."):
        pool_celeba(tree)


def spoil(tree, number, how):
    """Replace an image by what is none."""
    image = tree / "img_align_celeba" / f"{number:06d}.jpg"
    image.unlink()
    how(image)


def link_to_a_secret(image):
    secret = image.parent.parent.parent / "mueller.jpg"
    secret.write_bytes(b"\xff\xd8\xff")
    image.symlink_to(secret)


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        (Path.touch, "the file is empty"),
        (os.mkdir, "not a file but a folder or device, or a link that leads nowhere"),
        (link_to_a_secret, "path leaves the data folder through a link"),
        (
            lambda image: image.symlink_to("nowhere.jpg"),
            "not a file but a folder or device, or a link that leads nowhere",
        ),
        (
            lambda image: image.symlink_to(image.name),
            "the file cannot be looked at (Too many levels of symbolic links)",
        ),
    ],
)
def test_what_is_no_image_is_refused_before_anything_is_opened_and_can_be_left_out(tree, how, fault):
    for number in (7, 59):
        spoil(tree, number, how)
    with pytest.raises(DataError) as caught:
        pool_celeba(tree)
    assert str(caught.value) == (
        f"2 of 60 images cannot be used: row 7: {fault}; row 59: {fault}. Unpack img_align_celeba.zip again, or leave "
        "them out: exclude_rows=[7,59]."
    )
    pool = pool_celeba(tree, exclude_rows=[59, 7])
    assert set(pool.records["row"]) == set(range(1, 61)) - {7, 59}
    assert "exclude_rows leaves out 2 rows" in pool.notes()


def test_images_that_are_not_there_can_be_left_out(tree):
    spoil(tree, 3, lambda image: None)
    with pytest.raises(DataError, match=r"\(row 3\)\. .*: exclude_rows=\[3\]\.$"):
        pool_celeba(tree)
    assert len(pool_celeba(tree, exclude_rows=[3]).records) == 59


def test_a_link_that_stays_in_the_data_folder_is_followed(tree):
    (tree / "more").mkdir()
    (tree / "img_align_celeba" / "000007.jpg").rename(tree / "more" / "a.jpg")
    (tree / "img_align_celeba" / "000007.jpg").symlink_to("../more/a.jpg")
    assert len(pool_celeba(tree).records) == 60


def test_a_folder_of_images_that_is_a_link_out_of_the_data_folder_is_refused(tree, tmp_path):
    (tree / "img_align_celeba").rename(tmp_path / "mueller")
    (tree / "img_align_celeba").symlink_to(tmp_path / "mueller")
    with pytest.raises(DataError, match="img_align_celeba leaves the data folder through a link") as caught:
        pool_celeba(tree)
    assert "mueller" not in str(caught.value)


def test_a_data_folder_that_is_a_link_itself_is_read(tree, tmp_path):
    (tmp_path / "link").symlink_to(tree)
    assert len(read_celeba(tmp_path / "link").table) == 60


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (5, r"^exclude_rows must be a list of row numbers, such as exclude_rows=\[7,41\]; got 5\.$"),
        ("5", "got '5'"),
        ([1.5], r"got 1\.5 among them"),
        ([61], "exclude_rows names row 61; there are rows 1 to 60"),
    ],
)
def test_excluded_rows_that_make_no_sense_are_one_sentence(tree, rows, message):
    with pytest.raises(ValueError, match=message):
        pool_celeba(tree, exclude_rows=rows)


def test_unknown_and_equal_attributes_are_refused_with_the_nearest(drawn):
    with pytest.raises(ValueError, match=r'no attribute "male" \(did you mean "Male"\?\)'):
        pool_celeba(drawn, protected="male")
    with pytest.raises(ValueError, match='"Male" is named twice'):
        pool_celeba(drawn, target="Male")


@pytest.mark.slow
def test_the_full_attribute_table_is_read_in_three_seconds(tmp_path):
    import time

    number, rng = 202_599, np.random.default_rng(0)
    signs = np.where(rng.random((number, 40)) < 0.3, " 1", "-1")
    names = [f"{i:06d}.jpg" for i in range(1, number + 1)]
    lines = [f"{name} {' '.join(row)}" for name, row in zip(names, signs, strict=True)]
    (tmp_path / "list_attr_celeba.txt").write_text(
        "\n".join([str(number), " ".join(CELEBA_ATTRIBUTES) + " ", *lines, ""])
    )
    (tmp_path / "list_eval_partition.txt").write_text("".join(f"{name} {i % 3}\n" for i, name in enumerate(names)))
    (tmp_path / "img_align_celeba").mkdir()
    with pytest.raises(DataError, match="202599 of 202599 images are not in img_align_celeba"):
        read_celeba(tmp_path)
    start = time.process_time()
    with pytest.raises(DataError):
        read_celeba(tmp_path)
    assert time.process_time() - start < 3
