"""Where filters written for Pyrox 0.4 and 0.5 import Pyrox's own configuration from."""

from pyrox.compat_config import ConfigurationError, ConfigurationPart, load_config
from pyrox.compat_settings import (
    CoreConfiguration,
    LoggingConfiguration,
    PipelineConfiguration,
    RoutingConfiguration,
    SSLConfiguration,
    TemplatesConfiguration,
    load_pyrox_config,
)

__all__ = [
    "ConfigurationError",
    "ConfigurationPart",
    "CoreConfiguration",
    "LoggingConfiguration",
    "PipelineConfiguration",
    "RoutingConfiguration",
    "SSLConfiguration",
    "TemplatesConfiguration",
    "load_config",
    "load_pyrox_config",
]
