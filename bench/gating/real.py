"""Real pictures: sample data of packages, with labels that were written by hand. Never trained on.

matplotlib is a development dependency. The others serve this alone and are not: their pictures come with
`pip install --no-deps scikit-image scikit-learn` and with Debian's packages octave-doc and gnumeric-doc.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fovea.contract.image import ImageKind


@dataclass(frozen=True)
class Sample:
    """A file of an installed package: in its folder, or absolute. `other` is a second kind that a person may
    give it.
    """

    package: str
    file: str
    kind: ImageKind
    other: ImageKind | None = None

    @property
    def name(self) -> str:
        return f"{self.package}/{Path(self.file).name}"

    @property
    def path(self) -> Path | None:
        """None if the package is not installed or lacks the file."""
        if self.file.startswith("/"):
            path = Path(self.file)
        else:
            spec = find_spec(self.package)
            path = Path((spec and spec.origin) or ".").parent / self.file
        return path if path.exists() else None


SAMPLES: tuple[Sample, ...] = (
    Sample("skimage", "data/astronaut.png", ImageKind.PHOTO),
    Sample("skimage", "data/brick.png", ImageKind.PHOTO),
    Sample("skimage", "data/camera.png", ImageKind.PHOTO),
    Sample("skimage", "data/cell.png", ImageKind.PHOTO),
    Sample("skimage", "data/chelsea.png", ImageKind.PHOTO),
    Sample("skimage", "data/chessboard_GRAY.png", ImageKind.DRAWING),
    Sample("skimage", "data/chessboard_RGB.png", ImageKind.DRAWING),
    Sample("skimage", "data/clock_motion.png", ImageKind.PHOTO),
    Sample("skimage", "data/coffee.png", ImageKind.PHOTO),
    Sample("skimage", "data/coins.png", ImageKind.PHOTO),
    Sample("skimage", "data/color.png", ImageKind.DRAWING),
    Sample("skimage", "data/grass.png", ImageKind.PHOTO),
    Sample("skimage", "data/gravel.png", ImageKind.PHOTO),
    Sample("skimage", "data/horse.png", ImageKind.DRAWING),
    Sample("skimage", "data/hubble_deep_field.jpg", ImageKind.PHOTO),
    Sample("skimage", "data/ihc.png", ImageKind.PHOTO),
    Sample("skimage", "data/logo.png", ImageKind.DRAWING),
    Sample("skimage", "data/microaneurysms.png", ImageKind.PHOTO),
    Sample("skimage", "data/moon.png", ImageKind.PHOTO),
    Sample("skimage", "data/motorcycle_left.png", ImageKind.PHOTO),
    Sample("skimage", "data/page.png", ImageKind.TEXT),
    Sample("skimage", "data/phantom.png", ImageKind.DRAWING),
    Sample("skimage", "data/retina.jpg", ImageKind.PHOTO),
    Sample("skimage", "data/rocket.jpg", ImageKind.PHOTO),
    Sample("skimage", "data/text.png", ImageKind.TEXT, ImageKind.PHOTO),
    Sample("sklearn", "datasets/images/china.jpg", ImageKind.PHOTO),
    Sample("sklearn", "datasets/images/flower.jpg", ImageKind.PHOTO),
    Sample("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", ImageKind.PHOTO),
    Sample("matplotlib", "mpl-data/sample_data/Minduka_Present_Blue_Pack.png", ImageKind.DRAWING),
    Sample("matplotlib", "mpl-data/sample_data/logo2.png", ImageKind.DRAWING, ImageKind.TEXT),
    Sample("matplotlib", "mpl-data/images/matplotlib_large.png", ImageKind.DRAWING),
    Sample("matplotlib", "mpl-data/images/help_large.png", ImageKind.DRAWING),
    Sample("matplotlib", "mpl-data/images/qt4_editor_options_large.png", ImageKind.DRAWING, ImageKind.CHART),
    Sample("matplotlib", "mpl-data/images/subplots_large.png", ImageKind.DRAWING),
    Sample("matplotlib", "mpl-data/images/filesave_large.png", ImageKind.DRAWING),
    Sample("octave-doc", "/usr/share/doc/octave/octave.html/errorbar.png", ImageKind.CHART),
    Sample("octave-doc", "/usr/share/doc/octave/octave.html/hist.png", ImageKind.CHART),
    Sample("octave-doc", "/usr/share/doc/octave/octave.html/plot.png", ImageKind.CHART),
    Sample("octave-doc", "/usr/share/doc/octave/octave.html/polar.png", ImageKind.CHART),
    Sample("octave-doc", "/usr/share/doc/octave/octave.html/interpft.png", ImageKind.CHART),
    Sample("octave-doc", "/usr/share/doc/octave/octave.html/splinefit1.png", ImageKind.CHART),
    Sample(
        "gnumeric-doc", "/usr/share/help/C/gnumeric/figures/analysistools-ANOVA1-ex2.png", ImageKind.TABLE
    ),
    Sample(
        "gnumeric-doc", "/usr/share/help/C/gnumeric/figures/analysistools-ANOVA2w-ex2.png", ImageKind.TABLE
    ),
    Sample(
        "gnumeric-doc", "/usr/share/help/C/gnumeric/figures/analysistools-descstats-ex2.png", ImageKind.TABLE
    ),
    Sample("gnumeric-doc", "/usr/share/help/C/gnumeric/figures/analysistools-ftest-ex2.png", ImageKind.TABLE),
    Sample(
        "gnumeric-doc", "/usr/share/help/C/gnumeric/figures/analysistools-normality-ex1.png", ImageKind.TABLE
    ),
    Sample(
        "gnumeric-doc",
        "/usr/share/help/C/gnumeric/figures/analysistools-frequency-results.png",
        ImageKind.CHART,
        ImageKind.TABLE,
    ),
    Sample(
        "gnumeric-doc",
        "/usr/share/help/C/gnumeric/figures/analysistools-moving-average-ex2.png",
        ImageKind.TEXT,
        ImageKind.DRAWING,
    ),
)


def installed() -> Iterator[tuple[Sample, bytes]]:
    """The samples that this environment has."""
    for sample in SAMPLES:
        if sample.path:
            yield sample, sample.path.read_bytes()
