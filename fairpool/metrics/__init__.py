"""Evidence by site: confusion counts, error rates and the gaps between groups."""

from typing import TYPE_CHECKING, Any

from fairpool.metrics.confusion import confusion_by_group
from fairpool.metrics.report import GroupReport, group_report

if TYPE_CHECKING:
    from fairpool.metrics.group_metric import GroupMetric

__all__ = ["GroupMetric", "GroupReport", "confusion_by_group", "group_report"]


def __getattr__(name: str) -> Any:
    if name == "GroupMetric":  # imports MONAI, which takes seconds
        from fairpool.metrics.group_metric import GroupMetric

        return GroupMetric
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
