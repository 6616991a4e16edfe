"""A gateway in front of several decoders, one of which is down."""

from __future__ import annotations

import pytest

from gateway_svc.settings import GatewaySettings
from tests.e2e.house import House, free_address
from tests.e2e.pictures import picture
from tests.gateway.conftest import MODEL, gateway_of
from tests.gateway.pictures import data_uri


async def test_a_gateway_is_ready_while_any_decoder_is_and_answers_about_every_image(
    standin_house: House,
) -> None:
    decoders = f"{free_address()},{standin_house.decoder_side.address}"
    async with gateway_of(standin_house, decoder=decoders) as served:
        async with served.http() as http:
            assert (await http.get("/readyz")).status_code == 200
        async with served.openai() as client:
            for number in range(6):
                image = {"type": "image_url", "image_url": {"url": data_uri(picture(seed=9900 + number))}}
                content = [image, {"type": "text", "text": "What is it?"}]
                answer = await client.chat.completions.create(
                    model=MODEL, messages=[{"role": "user", "content": content}], max_tokens=4
                )
                assert answer.choices[0].finish_reason


async def test_a_gateway_without_any_decoder_is_not_ready(standin_house: House) -> None:
    decoders = f"{free_address()},{free_address()}"
    async with gateway_of(standin_house, decoder=decoders) as served, served.http() as http:
        assert (await http.get("/readyz")).status_code == 503


@pytest.mark.parametrize("decoder", ["127.0.0.1:1,decoder.example:1", "dns:///decoder.example:1"])
def test_decoders_on_other_machines_need_tls(decoder: str) -> None:
    with pytest.raises(ValueError, match="on another machine"):
        GatewaySettings(decoder=decoder)
    assert GatewaySettings(decoder=decoder, decoder_tls=True).secure_decoder
