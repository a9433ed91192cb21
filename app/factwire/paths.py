"""Paths of resource folders: beside the package in a checkout, inside it if installed from a wheel."""

from pathlib import Path

PACKAGE = Path(__file__).parent


def resource_path(name: str) -> Path:
    """Path of the resource folder with this name."""
    packed = PACKAGE / name
    return packed if packed.is_dir() else PACKAGE.parent.parent / name
