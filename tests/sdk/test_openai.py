"""OpenAI's own package against the gateway: in its dialect, and with Anthropic's and Google's models behind it."""

import asyncio
import base64
import json
import time

import openai
from world import ANTHROPIC, GATEWAY, GEMINI, KEY, OPENAI, PIXEL, AsyncCase, Case, fault, look, main, order, said

ALL = [(OPENAI, "openai"), (ANTHROPIC, "anthropic"), (GEMINI, "gemini")]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}


def client(**more):
    return openai.OpenAI(**{"base_url": f"{GATEWAY}/v1", "api_key": KEY, "max_retries": 0, "timeout": 20, **more})


def user(content):
    return [{"role": "user", "content": content}]


class Chat(Case):
    def test_an_answer(self):
        for model, mock in ALL:
            with self.subTest(model):
                answer = client().chat.completions.create(model=model, messages=user("hello"))
                self.assertEqual(answer.choices[0].message.content, said(mock, 5))
                self.assertEqual(answer.choices[0].finish_reason, "stop")
                self.assertEqual(answer.object, "chat.completion")
                self.assertGreater(answer.usage.total_tokens, 0)

    def test_a_conversation_with_everything(self):
        for model, mock in ALL:
            with self.subTest(model):
                answer = client().chat.completions.create(
                    model=model,
                    messages=[
                        {"role": "developer", "content": "12345"},
                        {"role": "user", "content": "first"},
                        {"role": "assistant", "content": "yes"},
                        {"role": "user", "content": [{"type": "text", "text": "again"}]},
                    ],
                    temperature=0.2,
                    top_p=0.9,
                    stop=["never"],
                    max_completion_tokens=100,
                    user="somebody",
                )
                self.assertEqual(answer.choices[0].message.content, said(mock, 18))

    def test_a_stream(self):
        for model, mock in ALL:
            with self.subTest(model):
                chunks = list(client().chat.completions.create(model=model, messages=user("hello"), stream=True))
                self.assertTrue(all(chunk.choices for chunk in chunks), "no chunk without a choice")
                text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
                self.assertEqual(text, said(mock, 5))
                self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
                self.assertEqual(chunks[-1].choices[0].finish_reason, "stop")
                self.assertEqual(len({chunk.id for chunk in chunks}), 1)
                self.assertTrue(all(chunk.usage is None for chunk in chunks))

    def test_a_stream_with_usage(self):
        for model, mock in ALL:
            with self.subTest(model):
                order(mock, "orders", {"usage": "in=100,out=50,cached=30"})
                chunks = list(
                    client().chat.completions.create(
                        model=model, messages=user("hello"), stream=True, stream_options={"include_usage": True}
                    )
                )
                self.assertEqual(chunks[-1].choices, [])
                usage = chunks[-1].usage
                self.assertEqual((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (100, 50, 150))
                self.assertEqual(usage.prompt_tokens_details.cached_tokens, 30)

    def test_the_helper_for_streams(self):
        for model, mock in ALL:
            with self.subTest(model), client().chat.completions.stream(model=model, messages=user("hello")) as stream:
                kinds = [event.type for event in stream]
                self.assertIn("content.delta", kinds)
                self.assertEqual(stream.get_final_completion().choices[0].message.content, said(mock, 5))

    def test_json_with_a_schema(self):
        schema = {
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
            "required": ["name", "age"],
            "additionalProperties": False,
        }
        shape = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": schema}}
        answer = client().chat.completions.create(model=OPENAI, messages=user("who"), response_format=shape)
        self.assertEqual(json.loads(answer.choices[0].message.content), {"name": "mock 1", "age": 1})

    def test_the_longest_output_and_the_stop_sequence(self):
        for model, _ in ALL:
            with self.subTest(model):
                create = client().chat.completions.create
                answer = create(model=model, messages=user("say one two three"), max_tokens=2)
                self.assertEqual((answer.choices[0].message.content, answer.choices[0].finish_reason), ("one two ", "length"))
                answer = create(model=model, messages=user("say one two three"), stop="three")
                self.assertEqual((answer.choices[0].message.content, answer.choices[0].finish_reason), ("one two ", "stop"))


class Tools(Case):
    def rounds(self, model, question):
        """One round of calls, and the answer to their results; whole, then streamed."""
        create = client().chat.completions.create
        messages = user(question)
        answer = create(model=model, messages=messages, tools=[WEATHER], parallel_tool_calls=True)
        message = answer.choices[0].message
        self.assertEqual(answer.choices[0].finish_reason, "tool_calls")
        messages.append(message)
        for call in message.tool_calls:
            messages.append({"role": "tool", "tool_call_id": call.id, "content": "sun"})
        last = create(model=model, messages=messages, tools=[WEATHER]).choices[0]
        self.assertEqual(last.finish_reason, "stop")
        return message.tool_calls, last.message.content

    def test_one_call(self):
        for model, _ in ALL:
            with self.subTest(model):
                calls, text = self.rounds(model, "call get_weather")
                self.assertEqual(len(calls), 1)
                self.assertEqual((calls[0].type, calls[0].function.name), ("function", "get_weather"))
                self.assertEqual(json.loads(calls[0].function.arguments), {"city": "mock 1", "days": 1})
                self.assertIn("1 tool results", text)

    def test_calls_at_once(self):
        for model, _ in ALL:
            with self.subTest(model):
                calls, text = self.rounds(model, "call get_weather twice")
                self.assertEqual(len({call.id for call in calls}), 2)
                self.assertEqual([json.loads(call.function.arguments)["days"] for call in calls], [1, 2])
                self.assertIn("2 tool results", text)

    def test_calls_in_a_stream(self):
        for model, _ in ALL:
            with self.subTest(model):
                with client().chat.completions.stream(
                    model=model, messages=user("call get_weather twice"), tools=[WEATHER]
                ) as stream:
                    choice = stream.get_final_completion().choices[0]
                self.assertEqual(choice.finish_reason, "tool_calls")
                self.assertEqual([call.function.name for call in choice.message.tool_calls], ["get_weather"] * 2)
                self.assertEqual(
                    [json.loads(call.function.arguments)["city"] for call in choice.message.tool_calls],
                    ["mock 1", "mock 2"],
                )

    def test_a_choice_of_tools(self):
        for model, _ in ALL:
            with self.subTest(model):
                create = client().chat.completions.create
                forced = {"type": "function", "function": {"name": "get_weather"}}
                for choice, called in [("none", False), ("auto", False), ("required", True), (forced, True)]:
                    answer = create(model=model, messages=user("hello"), tools=[WEATHER], tool_choice=choice)
                    self.assertEqual(bool(answer.choices[0].message.tool_calls), called, choice)


class Vision(Case):
    def test_pictures_by_address_and_within(self):
        inside = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
        address = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png", "detail": "low"}}
        text = {"type": "text", "text": "look"}
        for model, mock in ALL:
            parts = [text, inside, inside] if model == GEMINI else [text, inside, address]
            with self.subTest(model):
                answer = client().chat.completions.create(model=model, messages=user(parts))
                self.assertEqual(
                    answer.choices[0].message.content,
                    f"This is {mock} answering a question of 4 characters, 2 images.",
                )


class OtherDoors(Case):
    def test_embeddings(self):
        answer = client().embeddings.create(model=OPENAI, input=["one", "two"], dimensions=8)
        self.assertEqual([one.index for one in answer.data], [0, 1])
        self.assertEqual([len(one.embedding) for one in answer.data], [8, 8])
        self.assertIsInstance(answer.data[0].embedding[0], float)
        self.assertGreater(answer.usage.total_tokens, 0)

    def test_models(self):
        names = {model.id for model in client().models.list()}
        self.assertLessEqual({OPENAI, ANTHROPIC, GEMINI}, names)
        self.assertEqual(client().models.retrieve(OPENAI).id, OPENAI)
        with self.assertRaises(openai.NotFoundError):
            client().models.retrieve("nobody")

    def test_completions(self):
        answer = client().completions.create(model=OPENAI, prompt="hello")
        self.assertEqual(answer.choices[0].text, said("openai", 5))
        chunks = client().completions.create(model=OPENAI, prompt="hello", stream=True)
        self.assertEqual("".join(chunk.choices[0].text for chunk in chunks), said("openai", 5))

    def test_pictures_and_sound(self):
        image = client().images.generate(model=OPENAI, prompt="a cat", response_format="b64_json")
        self.assertEqual(base64.b64decode(image.data[0].b64_json)[:4], b"\x89PNG")
        sound = client().audio.speech.create(model=OPENAI, voice="alloy", input="hello", response_format="wav")
        self.assertEqual(sound.read()[:4], b"RIFF")
        heard = client().audio.transcriptions.create(model=OPENAI, file=("x.wav", b"RIFF" + bytes(range(256)) * 40))
        self.assertTrue(heard.text)


class Responses(Case):
    def test_an_answer(self):
        answer = client().responses.create(model=OPENAI, input="hello", instructions="12345")
        self.assertEqual((answer.output_text, answer.status), (said("openai", 10), "completed"))
        self.assertGreater(answer.usage.total_tokens, 0)

    def test_a_stream(self):
        with client().responses.stream(model=OPENAI, input="hello") as stream:
            kinds = [event.type for event in stream]
            self.assertEqual((kinds[0], kinds[-1]), ("response.created", "response.completed"))
            self.assertEqual(stream.get_final_response().output_text, said("openai", 5))

    def test_calls(self):
        tool = {"type": "function", **WEATHER["function"], "strict": False}
        first = client().responses.create(model=OPENAI, input="call get_weather twice", tools=[tool])
        calls = [item for item in first.output if item.type == "function_call"]
        self.assertEqual([json.loads(call.arguments)["days"] for call in calls], [1, 2])
        turns = [{"role": "user", "content": "call get_weather twice"}, *first.output]
        turns += [{"type": "function_call_output", "call_id": call.call_id, "output": "sun"} for call in calls]
        second = client().responses.create(model=OPENAI, input=turns, tools=[tool])
        self.assertIn("2 tool results", second.output_text)


class Errors(Case):
    def test_an_unknown_model(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            client().chat.completions.create(model="nobody", messages=user("hello"))
        self.assertEqual((caught.exception.code, caught.exception.param), ("UNSUPPORTED_MODEL", "model"))
        self.assertEqual(caught.exception.type, "invalid_request_error")
        self.assertTrue(caught.exception.request_id)

    def test_a_wrong_key(self):
        for key in ["sk-sg-wrong", "none"]:
            with self.assertRaises(openai.AuthenticationError):
                client(api_key=key).chat.completions.create(model=OPENAI, messages=user("hello"))
        self.assertEqual(look("openai", "stats")["hits"], 0)

    def test_a_request_that_the_provider_refuses(self):
        for model, mock in ALL:
            with self.subTest(model):
                fault(mock, "refuse:context")
                with self.assertRaises(openai.BadRequestError) as caught:
                    client().chat.completions.create(model=model, messages=user("hello"))
                self.assertIn("maximum context length", caught.exception.message)

    def test_a_provider_that_fails(self):
        for model, mock in ALL:
            for stream in [False, True]:
                with self.subTest(model, stream=stream):
                    fault(mock, "500", 10)
                    with self.assertRaises(openai.InternalServerError):
                        client().chat.completions.create(model=model, messages=user("hello"), stream=stream)
                    order(mock, "reset")

    def test_a_provider_that_fails_once_is_no_concern_of_the_client(self):
        for model, mock in ALL:
            with self.subTest(model):
                fault(mock, "500")
                answer = client().chat.completions.create(model=model, messages=user("hello"))
                self.assertEqual(answer.choices[0].message.content, said(mock, 5))

    def test_an_error_in_the_middle_of_a_stream(self):
        for model, mock in ALL:
            with self.subTest(model):
                fault(mock, "close@3")
                stream = client().chat.completions.create(model=model, messages=user("hello"), stream=True)
                text = ""
                with self.assertRaises(openai.APIError):
                    for chunk in stream:
                        text += chunk.choices[0].delta.content or ""
                self.assertEqual(text, "This is " + mock + " ")

    def test_a_limit_says_when_to_come_again(self):
        limited = client(base_url=f"{GATEWAY}/limited/v1")
        create = limited.chat.completions.create
        for _ in range(2):
            create(model=OPENAI, messages=user("hello"))
        with self.assertRaises(openai.RateLimitError) as caught:
            create(model=OPENAI, messages=user("hello"))
        headers = caught.exception.response.headers
        self.assertGreater(int(headers["retry-after"]), 0)
        self.assertEqual(headers["x-ratelimit-remaining-requests"], "0")
        self.assertEqual(caught.exception.code, "RATE_LIMIT_EXCEEDED")

    def test_the_package_comes_again_when_it_is_told_to(self):
        order("openai", "keys", {"key": "sk-of-openai-4711", "state": "limited:2s"})
        started = time.monotonic()
        answer = client(max_retries=4).chat.completions.create(model=OPENAI, messages=user("hello"))
        self.assertEqual(answer.choices[0].message.content, said("openai", 5))
        self.assertGreater(time.monotonic() - started, 1.5)

    def test_a_client_that_does_not_wait(self):
        order("openai", "latency", {"latency": "20s"})
        with self.assertRaises(openai.APITimeoutError):
            client(timeout=1).chat.completions.create(model=OPENAI, messages=user("hello"))
        deadline = time.monotonic() + 10
        while look("openai", "ledger")["total"]["cancelled"] == 0:
            self.assertLess(time.monotonic(), deadline, "the provider is left when its client is")
            time.sleep(0.05)


class Raw(Case):
    def test_headers(self):
        raw = client().chat.completions.with_raw_response.create(model=OPENAI, messages=user("hello"))
        self.assertEqual(raw.headers["x-sluicegate-target"], f"openai/{OPENAI}")
        self.assertEqual(raw.headers["x-sluicegate-attempts"], "1")
        self.assertEqual(raw.request_id, raw.headers["x-request-id"])
        self.assertEqual(raw.parse().choices[0].message.content, said("openai", 5))
        self.assertNotIn("set-cookie", raw.headers)

    def test_a_stream_that_is_read_by_hand(self):
        with client().chat.completions.with_streaming_response.create(
            model=OPENAI, messages=user("hello"), stream=True
        ) as answer:
            self.assertEqual(answer.headers["content-type"], "text/event-stream")
            self.assertEqual(list(answer.iter_lines())[-2], "data: [DONE]")

    def test_fields_that_the_package_does_not_know(self):
        client().chat.completions.create(
            model=OPENAI, messages=user("hello"), extra_body={"x_unheard_of": {"a": 1}}, extra_headers={"x-mine": "1"}
        )
        seen = look("openai", "requests")[-1]
        self.assertEqual(seen["headers"]["x-mine"], "1")
        self.assertEqual(seen["headers"]["authorization"], "Bearer sk-of-openai-4711")


class Async(AsyncCase):
    async def test_many_at_once(self):
        one = openai.AsyncOpenAI(base_url=f"{GATEWAY}/v1", api_key=KEY, max_retries=0, timeout=30)
        async with one:
            asked = [one.chat.completions.create(model=model, messages=user("x" * n)) for n in range(1, 21) for model, _ in ALL]
            answers = await asyncio.gather(*asked)
        expected = [said(mock, n) for n in range(1, 21) for _, mock in ALL]
        self.assertEqual([answer.choices[0].message.content for answer in answers], expected)

    async def test_a_stream_that_is_left(self):
        order("openai", "orders", {"sse": "rate=20,events=1000"})
        one = openai.AsyncOpenAI(base_url=f"{GATEWAY}/v1", api_key=KEY, max_retries=0, timeout=30)
        async with one:
            stream = await one.chat.completions.create(model=OPENAI, messages=user("hello"), stream=True)
            seen = 0
            async for _ in stream:
                seen += 1
                if seen == 5:
                    break
            await stream.close()
        for _ in range(200):
            if look("openai", "ledger")["total"]["cancelled"] == 1:
                return
            await asyncio.sleep(0.05)
        self.fail("the provider was not left")


class OtherPrefix(Case):
    def test_below_any_prefix(self):
        one = client(base_url=f"{GATEWAY}/api/v1/ai")
        answer = one.chat.completions.create(model=OPENAI, messages=user("hello"))
        self.assertEqual(answer.choices[0].message.content, said("openai", 5))


class Azure(Case):
    def test_its_clients_name_the_model_in_the_address(self):
        for model, mock in ALL:
            with self.subTest(model):
                one = openai.AzureOpenAI(
                    azure_endpoint=GATEWAY, api_version="2024-10-21", azure_ad_token=KEY, max_retries=0, timeout=20
                )
                answer = one.chat.completions.create(model=model, messages=user("hello"))
                self.assertEqual(answer.choices[0].message.content, said(mock, 5))
                stream = one.chat.completions.create(model=model, messages=user("hello"), stream=True)
                text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
                self.assertEqual(text, said(mock, 5))

    def test_the_deployment_of_a_client_counts_and_not_what_it_calls_the_model(self):
        one = openai.AzureOpenAI(
            azure_endpoint=GATEWAY, azure_deployment=ANTHROPIC, api_version="2024-10-21", azure_ad_token=KEY, max_retries=0
        )
        answer = one.chat.completions.create(model="whatever", messages=user("hello"))
        self.assertEqual(answer.choices[0].message.content, said("anthropic", 5))


if __name__ == "__main__":
    main()
