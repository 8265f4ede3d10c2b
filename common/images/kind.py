"""What is kept of an image file beside its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ImageKind:
    """A file's format and metadata, for writing a result of the same kind.

    Args:
        format: name of the format.
        icc_profile: colour profile of the pixels as they were read.
        exif: EXIF data; the orientation is upright, as the pixels are.
        dpi: (horizontal, vertical) resolution in pixels per inch.
        pictures: how many frames or pages the file holds.
        notes: what was left out or converted, as texts.
        duration: of a frame, in milliseconds; None for what does not move.
        plays: how often an animation is played; 0: for ever.
    """

    format: str
    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple | None = None
    pictures: int = 1
    notes: tuple = ()
    duration: float | None = None
    plays: int = 0

    def losses(self, path: str | Path, used: str, pictures: int = 1) -> list[str]:
        """Lines about what of a file is not in the pixels.

        `used` says what is done with so many of its pictures: with one, or with all.
        """
        several = "pages" if self.format == "TIFF" else "frames"
        lines = [f"{path} holds {self.pictures} {several}; the first is {used}"]
        return lines[:self.pictures > pictures] + [f"{path}: {note}" for note in self.notes]
