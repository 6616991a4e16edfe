"""Asking: order of events, images referenced by id, re-upload after eviction, cancellation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf import text_format

from fovea.client import Finished, Format, Image, Message, Sampling, Started, Text, fit
from fovea.contract.answer import TokenLogprob
from fovea.contract.errors import AnswerIncomplete, ImageNotStored
from fovea.contract.rows import digest
from fovea.contract.sampling import sampling_from_proto
from fovea.decoder.v1 import decoder_pb2
from tests.fovea.client.fakes import png


def test_events_come_as_started_texts_finished(client, picture):
    events = list(client.stream("How many?", [picture]))
    assert [type(event) for event in events] == [Started, Text, Text, Finished]
    assert events[0] == Started("request-1", "fake", 90, 80)
    assert [event.text for event in events[1:3]] == ["forty", " two"]
    assert events[2].token_ids == (1,)


def test_an_answer_is_the_sum_of_its_texts(client, picture):
    heard = []
    answer = client.ask("How many?", [picture], on_text=heard.append)
    assert (answer.text, "".join(heard)) == ("forty two", "forty two")
    assert (answer.finish_reason, answer.model, answer.request_id) == ("stop", "fake", "request-1")
    assert answer.matched_stop == ""
    assert answer.receipt.totals.visual_tokens == 80
    assert answer.receipt.images[0].steps[0].name == "resize"


def test_an_answer_that_a_stop_string_ended_names_it(client, picture, decoder):
    decoder.matched_stop = "END"
    assert client.ask("How many?", [picture]).matched_stop == "END"


def test_files_are_stored_first_and_named_by_id(client, decoder, picture):
    data = Path(picture).read_bytes()
    known = "sha256:" + "0" * 64
    decoder.stored[known] = b""
    client.ask("What?", [picture, b"bytes", known])
    parts = decoder.requests[0].messages[0].parts
    assert [part.image.digest for part in parts[:3]] == [digest(data), digest(b"bytes"), known]
    assert parts[3].text == "What?"
    assert set(decoder.stored) == {digest(data), digest(b"bytes"), known}


def test_a_file_that_occurs_twice_is_uploaded_once(client, decoder, picture):
    client.ask("Which?", [picture, picture])
    assert decoder.put_messages == 1  # header and bytes share a message


def test_a_conversation_keeps_roles_and_order(client, decoder, picture):
    client.ask(
        [
            Message("system", ["Be short."]),
            Message("user", ["Look: ", Image(picture), "well?"]),
            Message("assistant", ["Yes."]),
            Message("user", ["And now?"]),
        ]
    )
    messages = decoder.requests[0].messages
    roles = [decoder_pb2.Role.Name(message.role) for message in messages]
    assert roles == ["ROLE_SYSTEM", "ROLE_USER", "ROLE_ASSISTANT", "ROLE_USER"]
    assert [part.WhichOneof("part") for part in messages[1].parts] == ["text", "image", "text"]


def test_separate_images_with_a_conversation_are_refused(client):
    with pytest.raises(ValueError, match="Image parts"):
        client.ask([Message("user", ["?"])], ["x.png"])


def test_only_what_the_caller_set_is_sent(client, decoder):
    client.ask("?", sampling=Sampling(top_p=0.5, stop=["\n"]), max_pixels=100_000, request_id="mine")
    request = decoder.requests[0]
    assert {field.name for field, _ in request.sampling.ListFields()} == {"top_p", "stop"}
    assert request.visual.max_pixels == 100_000
    assert request.request_id == "mine"
    client.ask("?")
    assert decoder.requests[1].sampling.ListFields() == []
    assert decoder.requests[1].visual.ListFields() == []


@pytest.mark.parametrize(
    ("form", "sent"),
    [
        (Format.json_schema({"type": "object"}), 'json_schema: "{\\"type\\": \\"object\\"}"'),
        (Format.json_schema("{}"), 'json_schema: "{}"'),
        (Format.regex("[0-9]+"), 'regex: "[0-9]+"'),
        (Format.choice("a", "b"), 'choice { options: "a" options: "b" }'),
    ],
)
def test_the_response_format_is_sent(client, decoder, form, sent):
    client.ask("?", response_format=form)
    client.count("?", response_format=form)
    assert text_format.MessageToString(decoder.requests[0].response_format, as_one_line=True) == sent
    assert not decoder.requests[0].HasField("logprobs")


def test_log_probabilities_come_a_token_where_they_are_asked_for(client):
    answer = client.ask("?", logprobs=True)
    assert (answer.token_ids, answer.logprobs) == ((0, 1), (-0.5, -1.5))
    texts = [event for event in client.stream("?", logprobs=True) if isinstance(event, Text)]
    assert [event.logprobs for event in texts] == [(-0.5,), (-1.5,)]
    assert answer.token_bytes == (b"forty", b" two")
    assert client.ask("?").logprobs == client.ask("?").token_bytes == answer.top_logprobs == ()


def test_the_likeliest_tokens_come_where_they_are_asked_for(client, decoder):
    answer = client.ask("?", top_logprobs=2)
    likely = (TokenLogprob(0, -0.5, b"0"), TokenLogprob(1, -1.5, b"1"))
    assert (answer.top_logprobs, answer.logprobs) == ((likely, likely), (-0.5, -1.5))
    assert client.ask("?", sampling=Sampling(top_logprobs=2)).top_logprobs == answer.top_logprobs
    assert [request.logprobs.top for request in decoder.requests] == [2, 2]


@pytest.mark.parametrize(
    ("sampling", "sent"),
    [
        (Sampling(presence_penalty=1.5, frequency_penalty=-2.0, logit_bias={7: -100.0}), ""),
        (Sampling(checkpoint_defaults=True), ""),
        (Sampling(temperature=0.5, explicit=frozenset({"top_p"})), ""),
        (Sampling.of(checkpoint_defaults=True, temperature=0.0), "temperature"),
        (Sampling.of(checkpoint_defaults=True, top_k=0, min_p=0.0), "top_k min_p"),
        (
            Sampling.of(checkpoint_defaults=True, top_p=1.0, repetition_penalty=1.0),
            "top_p repetition_penalty",
        ),
        (Sampling.of(checkpoint_defaults=True, presence_penalty=0.0), "presence_penalty"),
    ],
)
def test_explicit_parameters_win_over_the_checkpoints(client, decoder, sampling, sent):
    client.ask("?", sampling=sampling)
    message = decoder.requests[0].sampling
    received = sampling_from_proto(message)
    assert {name for name in sent.split() if name in received.explicit} == set(sent.split())
    defaults = {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "min_p": 0.1, "repetition_penalty": 1.1}
    resolved = received.over(defaults | {"presence_penalty": 1.5})
    assert resolved.logit_bias == sampling.logit_bias
    if not sampling.checkpoint_defaults:
        assert resolved == replace(sampling, explicit=frozenset(), stop=())
        return
    taken = {name for name, value in defaults.items() if getattr(resolved, name) == value}
    assert taken == defaults.keys() - set(sent.split())
    assert resolved.is_greedy is ("temperature" in sent)
    assert (resolved.presence_penalty == 1.5) is ("presence_penalty" not in sent)


def test_a_parameter_that_differs_from_its_default_is_set():
    defaults = {"temperature": 0.7, "top_k": 20}
    given = Sampling(temperature=0.5, checkpoint_defaults=True)
    assert given.over(defaults) == Sampling(temperature=0.5, top_k=20)
    assert Sampling(temperature=0.5).over(defaults) == Sampling(temperature=0.5)


def test_an_evicted_image_is_uploaded_again(client, decoder, picture):
    decoder.forgets = 1
    assert client.ask("How many?", [picture]).text == "forty two"
    assert decoder.calls == ["PutImage", "Generate", "PutImage", "Generate"]


def test_an_image_lost_twice_is_an_error(client, decoder, picture):
    decoder.forgets = 2
    with pytest.raises(ImageNotStored):
        client.ask("How many?", [picture])
    assert len(decoder.requests) == 2


def test_an_unknown_id_is_not_retried(client, decoder):
    with pytest.raises(ImageNotStored) as caught:
        client.ask("How many?", ["sha256:" + "1" * 64])
    assert caught.value.metadata == {"image": "sha256:" + "1" * 64}
    assert len(decoder.requests) == 1


def test_leaving_a_stream_cancels_the_call_on_the_server(client, decoder):
    decoder.hang = True
    events = client.stream("How long?")
    assert isinstance(next(events), Started)
    assert not decoder.ended.is_set()
    events.close()
    assert decoder.ended.wait(20)


def test_a_stream_without_its_closing_message_is_an_error(client, decoder):
    decoder.silent = True
    with pytest.raises(AnswerIncomplete):
        client.ask("?")


def test_a_picture_that_is_to_fit_is_stored_and_counted_smaller(client, decoder, tmp_path):
    path = png(tmp_path / "large.png", 1600, 1200)
    client.ask("?", [path], max_pixels=262_144, fit=True)
    client.count("?", [path], max_pixels=262_144, fit=True)
    (stored,) = decoder.stored.values()
    assert stored == fit(path, 262_144) != Path(path).read_bytes()
    assert decoder.calls.count("CountTokens") == 1


def test_a_request_is_counted_and_the_server_tells_its_limits(client, picture):
    count = client.count("How many?", [picture])
    assert (count.prompt_tokens, count.visual_tokens, count.fits_context) == (90, 80, True)
    info = client.info()
    assert (info.model, info.state, info.features) == ("fake", "serving", ("generate",))
    assert info.limits["max_context"] == 8192
    assert info.details["layout"] == {"width": 8, "levels": 3, "dtype": "bf16", "row_bytes": 64}
    assert info.details["encoders"][0]["reachable"] is False
