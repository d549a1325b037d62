"""Configuration: read from file and environment, checked as a whole, and returned as values."""

from registry_proxy.config.load import KnownRegistry, find_config_file, load
from registry_proxy.config.problems import ConfigError, Problem
from registry_proxy.config.settings import (
    CacheSettings,
    LogSettings,
    ServerSettings,
    Settings,
    StorageSettings,
    UpstreamSettings,
)
from registry_proxy.config.units import Address

__all__ = [
    "Address",
    "CacheSettings",
    "ConfigError",
    "KnownRegistry",
    "LogSettings",
    "Problem",
    "ServerSettings",
    "Settings",
    "StorageSettings",
    "UpstreamSettings",
    "find_config_file",
    "load",
]
