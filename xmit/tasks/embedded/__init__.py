"""Tasks whose data come with PyPI packages, so that everything can be tried without a hub."""

from xmit.tasks.embedded.cldr import CldrGeo, CldrRetrieval, CldrTerms
from xmit.tasks.embedded.digits import DigitsImage, DigitsText

__all__ = ["CldrGeo", "CldrRetrieval", "CldrTerms", "DigitsImage", "DigitsText"]
