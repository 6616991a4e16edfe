"""The worker of an encoder without onnxruntime."""

from __future__ import annotations

import sys

sys.modules["onnxruntime"] = None  # type: ignore[assignment]

if __name__ == "__main__":
    from encoder_svc.images import worker

    worker.main(*sys.argv[1:])
