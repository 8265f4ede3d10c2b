"""What Python has since 3.8; the oldest that TensorFlow 2.6.5 runs on, and so the zoo, is 3.7."""

from __future__ import annotations

try:
    from typing import Literal, get_args, get_origin
except ImportError:
    from typing_extensions import Literal, get_args, get_origin

__all__ = ["Literal", "get_args", "get_origin", "installed_version"]


def installed_version(package: str) -> str | None:
    """The version of an installed package by its name on the index; None where it is not there."""
    try:
        from importlib import metadata
    except ImportError:
        import pkg_resources

        try:
            return pkg_resources.get_distribution(package).version
        except pkg_resources.DistributionNotFound:
            return None
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
