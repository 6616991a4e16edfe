"""Every failure that crosses the wire, one class per reason of `fovea.vision.v1.ErrorReason`.

The modules are imported whole, so a new class is exported without a second entry here.
"""

from fovea.contract.errors.access import *  # noqa: F403
from fovea.contract.errors.base import *  # noqa: F403
from fovea.contract.errors.base import FoveaError
from fovea.contract.errors.encoder import *  # noqa: F403
from fovea.contract.errors.engine import *  # noqa: F403
from fovea.contract.errors.image import *  # noqa: F403
from fovea.contract.errors.ledger import *  # noqa: F403
from fovea.contract.errors.request import *  # noqa: F403
from fovea.contract.errors.tiers import *  # noqa: F403
from fovea.contract.errors.transport import *  # noqa: F403
from fovea.contract.errors.transport import RemoteError

BY_REASON: dict[str, type[FoveaError]] = {
    kind.reason: kind
    for kind in tuple(globals().values())
    if isinstance(kind, type)
    and issubclass(kind, FoveaError)
    and "reason" in vars(kind)
    and kind is not RemoteError
}
"""The class of each reason. An unknown reason becomes a `RemoteError`."""
