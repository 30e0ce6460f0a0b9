"""What filters written for Pyrox 0.4 and 0.5 ask about Pyrox itself."""

from pyrox import __version__ as VERSION

__all__ = ["VERSION"]
