"""Several processes at one problem: what they say to each other, and elements and objectives that lie across them."""

from tomodiff.ranks.comm import Comm, world
from tomodiff.ranks.spread import AcrossRanks, Spread, SpreadData, own_views

__all__ = ["AcrossRanks", "Comm", "Spread", "SpreadData", "own_views", "world"]
