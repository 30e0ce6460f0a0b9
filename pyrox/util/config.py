"""Where filters written for Pyrox 0.4 and 0.5 import configuration by parts from."""

from pyrox.compat_config import Configuration, ConfigurationError, ConfigurationPart, load_config

__all__ = ["Configuration", "ConfigurationError", "ConfigurationPart", "load_config"]
