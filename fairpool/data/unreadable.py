"""Leave out images that cannot be read, within a limit and in the open."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from fairpool.data.image_cache import list_faults
from fairpool.errors import DataError

__all__ = ["account_for_skipped"]


def account_for_skipped(
    sites: Sequence[str],
    labels: Sequence[int],
    faults: Mapping[int, str],
    *,
    max_share: float,
    describe: Callable[[int], str],
) -> list[str]:
    """What a report must say of the images that are left out; refuses to leave out more than was allowed.

    The limit holds for each site by itself: images that are missing at one site alone change that site's rates and not
    the others', so a small share of all images may be too many. The labels are counted as well, for files that are
    damaged more often among the ill would change a rate.

    Args:
        sites: of every image.
        labels: of every image.
        faults: of `ImageCache.read_all`: what is the matter, by index of the image.
        max_share: largest share of a site's images that may be left out, in [0, 1].
        describe: names an image by its index, such as "row 41 (bern)"; never by its path.
    Returns:
        a sentence for each site that loses images; none where none do.
    Raises:
        DataError: a site loses more than ``max_share`` of its images, or all of them.
        ValueError: ``max_share`` is no share.

    >>> sites, labels = ["bern"] * 50 + ["basel"] * 50, [0, 1] * 50
    >>> account_for_skipped(sites, labels, {41: "image ends early"}, max_share=0.05, describe=lambda i: f"row {i}")
    ['1 of 50 images of site "bern" cannot be used and is left out (label 1: 1): row 41: image ends early']
    """
    if isinstance(max_share, bool) or not 0 <= max_share <= 1:
        raise ValueError(f"max_skipped is a share of a site's images, from 0 to 1; got {max_share}.")
    images = Counter(sites)
    lost = Counter(sites[index] for index in faults)
    sentences, excessive = [], []
    for site, number in sorted(lost.items()):
        about = [f"{describe(index)}: {fault}" for index, fault in faults.items() if sites[index] == site]
        if number > max_share * images[site] or number == images[site]:
            excessive.append(f'{number} of {images[site]} of site "{site}" ({list_faults(about)})')
        by_label = Counter(labels[index] for index in faults if sites[index] == site)
        counts = ", ".join(f"label {label}: {count}" for label, count in sorted(by_label.items()))
        verb = "is" if number == 1 else "are"
        sentences.append(
            f'{number} of {images[site]} images of site "{site}" cannot be used and {verb} left out ({counts}): '
            f"{list_faults(about)}"
        )
    if excessive:
        raise DataError(
            f"more images cannot be used than max_skipped allows, {max_share:.3g} of a site's: {'; '.join(excessive)}. "
            "Mend them, or raise max_skipped if the rest stands for the site."
        )
    return sentences
