"""What consistency compares in each kind of prediction: classes, values of items, or multisets of tags."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xmit.metrics import functional as F
from xmit.metrics import graded
from xmit.metrics._rows import ItemTable

NAN = float("nan")
Floats = NDArray[np.float64]
ONE_CLASS = "all comparable predictions are of one class, so agreement beyond chance is undefined"


class Unit(Protocol):
    """The statistics of one kind; what it does not define is NaN, and a reason says so."""

    no_kappa: str
    no_alpha: str

    def pairwise(self) -> Floats:
        """Mean similarity of every pair of languages."""

    def unanimous(self) -> float:
        """How alike items are over all languages."""

    def kappa(self) -> float:
        """Fleiss' kappa."""

    def alpha(self) -> float:
        """Krippendorff's alpha."""

    def most_frequent(self, column: int) -> tuple[Any, float]:
        """The most frequent prediction of a language and its share."""


class Labels:
    """Classes: equal or not."""

    no_kappa = no_alpha = ONE_CLASS

    def __init__(self, table: ItemTable) -> None:
        self.labels, self.present = table.labels, table.present

    def pairwise(self) -> Floats:
        """Share of equal labels."""
        return F.pairwise_agreement(self.labels, self.present)

    def unanimous(self) -> float:
        """Share of items with one label."""
        return F.unanimity(self.labels, self.present)

    def kappa(self) -> float:
        """Fleiss' kappa."""
        return F.fleiss_kappa(self.labels, self.present)

    def alpha(self) -> float:
        """Alpha of nominal labels."""
        return F.krippendorff_alpha(self.labels, self.present)

    def most_frequent(self, column: int) -> tuple[Any, float]:
        """The most frequent class."""
        classes, share = _most_frequent(self.labels[self.present[:, column], column])
        return int(classes), share


class Values:
    """Values from 0 to 1: how close they are."""

    no_kappa = "Fleiss' kappa is for classes; krippendorff_alpha measures values of items"
    no_alpha = "all comparable items have one value, so agreement beyond chance is undefined"

    def __init__(self, table: ItemTable) -> None:
        self.values, self.present = table.values, table.present

    def pairwise(self) -> Floats:
        """Mean closeness."""
        return graded.pairwise_closeness(self.values, self.present)

    def unanimous(self) -> float:
        """Closeness of the highest to the lowest."""
        return graded.value_unanimity(self.values, self.present)

    def kappa(self) -> float:
        """Not defined."""
        return NAN

    def alpha(self) -> float:
        """Alpha of an interval scale."""
        return graded.value_alpha(self.values, self.present)

    def most_frequent(self, column: int) -> tuple[Any, float]:
        """The value 0, the share of what is worth nothing: a language in which all is right is none to warn of."""
        return 0.0, float((self.values[self.present[:, column], column] == 0).mean())


class Bags:
    """Multisets of tags: Dice overlap."""

    no_kappa = no_alpha = "chance agreement of multisets of tags is not defined; see agreement"

    def __init__(self, table: ItemTable) -> None:
        self.table, self.present = table, table.present
        self.counts, self.tags = table.counts()

    def pairwise(self) -> Floats:
        """Mean Dice overlap."""
        return graded.pairwise_dice(self.counts, self.present)

    def unanimous(self) -> float:
        """Share of items with one multiset."""
        return graded.bag_unanimity(self.counts, self.present)

    def kappa(self) -> float:
        """Not defined."""
        return NAN

    def alpha(self) -> float:
        """Not defined."""
        return NAN

    def most_frequent(self, column: int) -> tuple[Any, float]:
        """The tag that most tags are, and its share; of no tags at all, the empty multiset."""
        totals = self.counts[self.present[:, column], column].sum(axis=0)
        if not totals.sum():
            return "no tag", 1.0
        return self.tags[int(totals.argmax())], float(totals.max() / totals.sum())


UNITS: dict[str, type[Labels] | type[Values] | type[Bags]] = {"labels": Labels, "values": Values, "bags": Bags}


def _most_frequent(predictions: NDArray[Any]) -> tuple[Any, float]:
    classes, counts = np.unique(predictions, return_counts=True)
    return classes[counts.argmax()], float(counts.max() / counts.sum())
