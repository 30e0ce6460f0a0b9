"""What filters of Pyrox 0.4 and 0.5 import; meaning and logic are in ``pyrox.compat_filters``."""

from pyrox.compat_filters import *  # noqa: F403
from pyrox.compat_filters import __all__ as __all__
from pyrox.filtering import pipeline as pipeline
