"""Files that are no code: beside the package in a checkout, inside of it where it was installed from a wheel."""

from pathlib import Path

PACKAGE = Path(__file__).parent


def resource_path(name: str) -> Path:
    """Where a folder of this name is."""
    packed = PACKAGE / name
    return packed if packed.is_dir() else PACKAGE.parent.parent / name
