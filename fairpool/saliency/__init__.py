"""Where in the image a network finds its evidence."""

from fairpool.saliency.cam import evidence_maps
from fairpool.saliency.panel import saliency_panel

__all__ = ["evidence_maps", "saliency_panel"]
