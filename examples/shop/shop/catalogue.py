"""What is for sale. A constant until the shop has a catalogue service."""

from collections.abc import Mapping
from types import MappingProxyType

CURRENCY = "EUR"

PRICES_CENTS: Mapping[str, int] = MappingProxyType(
    {
        "MUG-WHITE": 1_290,
        "MUG-BLUE": 1_490,
        "TEAPOT-1L": 3_950,
        "TEA-ASSAM-250": 1_125,
        "TEA-SENCHA-100": 980,
        "KETTLE-STEEL": 5_900,
    }
)
