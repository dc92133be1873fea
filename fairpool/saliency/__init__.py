"""Where in the image a network finds its evidence."""

from fairpool.saliency.cam import evidence_maps
from fairpool.saliency.outside import outside_table
from fairpool.saliency.overlap import MapOverlap, map_overlap
from fairpool.saliency.panel import saliency_panel

__all__ = ["MapOverlap", "evidence_maps", "map_overlap", "outside_table", "saliency_panel"]
