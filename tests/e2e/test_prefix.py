"""A second question about a picture transfers no rows, computes no prefix, and gives the same tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.e2e.house import request, running
from tests.e2e.test_equality import TOKENS, Pair, questions, ties


async def test_a_prefix_hit_moves_no_row_and_gives_the_tokens_of_the_monolithic_model(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = checkpoint("moe")
    asked = questions(folder)
    async with running(folder, tmp_path, decoder_changes={"prefix_cache": True}) as house:
        pair = Pair("moe", house, asked)
        for turn in range(2):
            calls = [
                house.ask(request(q.text, q.images, max_new_tokens=TOKENS, max_pixels=q.max_pixels))
                for q in asked
            ]
            answers = await asyncio.gather(*calls)
            ties(pair.questions, answers)
            receipts = [answered.finished.receipt for answered in answers]
            if turn:
                sources = [source for answered in answers for source in answered.sources]
                assert sources.count("ROW_SOURCE_PREFIX") > len(sources) / 2
                for answered, receipt in zip(answers, receipts, strict=True):
                    spared = [image for image in receipt.images if image.source == 3]
                    assert all(image.wire_bytes == 0 and image.tokens > 0 for image in spared)
                    assert receipt.totals.cached_prompt_tokens >= sum(image.tokens for image in spared)
                    assert receipt.totals.encodes == 0, answered.text
            else:
                assert all(receipt.totals.encodes == len(receipt.images) for receipt in receipts)
