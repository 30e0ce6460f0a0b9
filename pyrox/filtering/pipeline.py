"""The same names as in ``pyrox.filtering``, where the documentation of Pyrox 0.4 has them."""

from pyrox.compat_filters import *  # noqa: F403
from pyrox.compat_filters import __all__ as __all__
