"""Exact nearest neighbours by cosine similarity, reference subsets, votes, and groups of linked rows."""

from tamis.neighbors.components import linked_groups, number_groups
from tamis.neighbors.reference import balanced_reference, choose_reference
from tamis.neighbors.search import Neighbors, nearest_neighbors
from tamis.neighbors.vote import neighbor_vote

__all__ = [
    "Neighbors",
    "balanced_reference",
    "choose_reference",
    "linked_groups",
    "nearest_neighbors",
    "neighbor_vote",
    "number_groups",
]
