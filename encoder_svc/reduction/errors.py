"""Failures of row selection and of ranking, a class per failure."""

from __future__ import annotations

from fovea.contract.errors import InvalidArgument, TemplatedError


class KeepOutOfRange(TemplatedError, InvalidArgument):
    text = "keep is {actual:g}; a share of the rows is above 0 and at most 1"
    violation = "plan.rows.keep", "must be above 0 and at most 1, not {actual:g}"
    info = "limit=1 actual={actual}"
    actual: float


class KeepBesideAuto(TemplatedError, InvalidArgument):
    text = "keep is {actual:g} beside auto; one of them says how many rows are kept"
    violation = "plan.rows.keep", "must not be set beside auto"
    actual: float


class ReducerNotHere(TemplatedError, InvalidArgument):
    """The reducer is unknown, or is RESIZE, which callers turn into a smaller max_pixels beforehand."""

    text = "an encoder puts no rows in order by {actual}"
    violation = "plan.rows.reducer", "must be SCOPE, DIVPRUNE, STRIDE or RANDOM"
    actual: str


class AutoNeedsGains(TemplatedError, InvalidArgument):
    """The reducer rates all rows equal, so there is no point at which to stop."""

    text = "auto stops where one more row adds little, which {actual} cannot tell"
    violation = "plan.rows.reducer", "must be SCOPE or DIVPRUNE beside auto"
    actual: str


class ToleranceTooHigh(TemplatedError, InvalidArgument):
    text = "flat_tolerance is {actual}; values of one colour may differ by at most {limit}"
    violation = "plan.flat_tolerance", "must be at most {limit}"
    info = "limit={limit} actual={actual}"
    actual: int
    limit: int


class RankingFailed(TemplatedError):
    """The rows of this image exist but could not be ranked. Its other plans still work."""

    text = "the rows of this image could not be ranked by {reducer}"
    reducer: str
