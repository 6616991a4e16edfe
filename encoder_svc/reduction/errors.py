"""Failures of row selection and of ranking, a class per failure."""

from __future__ import annotations

from fovea.contract.errors import FoveaError, InvalidArgument, Violation


class KeepOutOfRange(InvalidArgument):
    def __init__(self, actual: float) -> None:
        super().__init__(
            f"keep is {actual:g}; a share of the rows is above 0 and at most 1",
            violations=[Violation("plan.rows.keep", f"must be above 0 and at most 1, not {actual:g}")],
            limit=1,
            actual=actual,
        )


class KeepBesideAuto(InvalidArgument):
    def __init__(self, actual: float) -> None:
        super().__init__(
            f"keep is {actual:g} beside auto; one of them says how many rows are kept",
            violations=[Violation("plan.rows.keep", "must not be set beside auto")],
            actual=actual,
        )


class ReducerNotHere(InvalidArgument):
    """RESIZE, which callers turn into a smaller max_pixels beforehand, or an unknown reducer."""

    def __init__(self, actual: str) -> None:
        super().__init__(
            f"an encoder puts no rows in order by {actual}",
            violations=[Violation("plan.rows.reducer", "must be SCOPE, DIVPRUNE, STRIDE or RANDOM")],
            actual=actual,
        )


class AutoNeedsGains(InvalidArgument):
    """The reducer rates all rows equal, so there is no point at which to stop."""

    def __init__(self, actual: str) -> None:
        super().__init__(
            f"auto stops where one more row adds little, which {actual} cannot tell",
            violations=[Violation("plan.rows.reducer", "must be SCOPE or DIVPRUNE beside auto")],
            actual=actual,
        )


class ToleranceTooHigh(InvalidArgument):
    def __init__(self, actual: int, limit: int) -> None:
        super().__init__(
            f"flat_tolerance is {actual}; values of one colour may differ by at most {limit}",
            violations=[Violation("plan.flat_tolerance", f"must be at most {limit}")],
            limit=limit,
            actual=actual,
        )


class RankingFailed(FoveaError):
    """The rows of this image exist but could not be ranked. Its other plans still work."""

    def __init__(self, reducer: str) -> None:
        super().__init__(f"the rows of this image could not be ranked by {reducer}", reducer=reducer)
