"""Losses that train under a fairness constraint; `FairALMHandler` serves each of them."""

from fairpool.losses.fairalm import FairALMLoss

__all__ = ["FairALMLoss"]
