"""Several processes at one problem: what they say to each other, and elements and objectives that lie across them."""

from tomodiff.ranks.comm import ALONE, Comm, local_rank, world
from tomodiff.ranks.spread import AcrossRanks, Spread, SpreadData, own_views

__all__ = ["ALONE", "AcrossRanks", "Comm", "Spread", "SpreadData", "local_rank", "own_views", "world"]
