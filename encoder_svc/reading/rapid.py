"""RapidOCR as an engine: PP-OCR models, which its wheel carries, run by onnxruntime on a single thread.

A single thread, because the process is forked after the models are loaded, and threads do not survive a fork.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import cv2
import numpy as np
from rapidocr import RapidOCR

from encoder_svc.images.decode import Pixels
from encoder_svc.images.limits import ImageLimits
from encoder_svc.reading.lines import clean_line
from fovea.contract.text import TextLine

# Every line is returned with its confidence, however low: the caller decides, and misses none.
_PARAMETERS = {
    "Global.log_level": "critical",
    "Global.use_cls": False,
    "Global.text_score": 0.0,
    "Global.max_side_len": ImageLimits.max_image_side,
    "Det.limit_type": "max",  # and not the default, which enlarges small images to many times their pixels
    "Det.limit_side_len": ImageLimits.max_image_side,
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
}


class RapidEngine:
    """PP-OCR: finds lines, then recognizes each."""

    def __init__(self) -> None:
        cv2.setNumThreads(0)
        self._ocr = RapidOCR(params=_PARAMETERS)

    def read(self, rgb: Pixels) -> Sequence[TextLine]:
        bgr = np.ascontiguousarray(rgb[..., ::-1])
        found = self._ocr(bgr, text_score=0.0)
        if found.boxes is None or found.txts is None or found.scores is None:
            return ()
        lines = (
            clean_line(text, box[:, 0], box[:, 1], score)
            for text, box, score in zip(found.txts, found.boxes, found.scores, strict=True)
        )
        return [line for line in lines if line is not None]

    def cpu_seconds(self) -> float:
        return time.process_time()
