"""Anthropic's own package against the gateway: in its dialect, and with OpenAI's models behind it."""

import asyncio
import time

import anthropic
from world import ANTHROPIC, GATEWAY, KEY, OPENAI, PIXEL, AsyncCase, Case, fault, look, main, order, said

ALL = [(ANTHROPIC, "anthropic"), (OPENAI, "openai")]
WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
}


def client(**more):
    return anthropic.Anthropic(**{"base_url": GATEWAY, "api_key": KEY, "max_retries": 0, "timeout": 20, **more})


def user(content):
    return [{"role": "user", "content": content}]


def create(model, content, **more):
    return client().messages.create(**{"model": model, "max_tokens": 1000, "messages": user(content), **more})


class Messages(Case):
    def test_an_answer(self):
        for model, mock in ALL:
            with self.subTest(model):
                answer = create(model, "hello")
                self.assertEqual((answer.type, answer.role, answer.stop_reason), ("message", "assistant", "end_turn"))
                self.assertEqual([block.text for block in answer.content], [said(mock, 5)])
                self.assertGreater(answer.usage.input_tokens + answer.usage.output_tokens, 0)

    def test_a_conversation_with_everything(self):
        for model, mock in ALL:
            with self.subTest(model):
                answer = create(
                    model,
                    "",
                    system=[{"type": "text", "text": "12345", "cache_control": {"type": "ephemeral"}}],
                    messages=[
                        {"role": "user", "content": [{"type": "text", "text": "first"}]},
                        {"role": "assistant", "content": "yes"},
                        {"role": "user", "content": "again"},
                    ],
                    stop_sequences=["never"],
                    metadata={"user_id": "somebody"},
                )
                self.assertEqual(answer.content[0].text, said(mock, 18))

    def test_usage(self):
        for model, mock in ALL:
            with self.subTest(model):
                order(mock, "orders", {"usage": "in=100,out=50,cached=30"})
                whole = create(model, "hello").usage
                with client().messages.stream(model=model, max_tokens=100, messages=user("hello")) as stream:
                    streamed = stream.get_final_message().usage
                for usage in [whole, streamed]:
                    told = (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens)
                    self.assertEqual(told, (70, 30, 50))

    def test_reasons_to_stop(self):
        for model, _ in ALL:
            with self.subTest(model):
                answer = create(model, "say one two three", max_tokens=2)
                self.assertEqual((answer.content[0].text, answer.stop_reason), ("one two ", "max_tokens"))


class Streams(Case):
    def test_the_helper_accumulates(self):
        for model, mock in ALL:
            with self.subTest(model):
                with client().messages.stream(model=model, max_tokens=100, messages=user("hello")) as stream:
                    text = "".join(stream.text_stream)
                    message = stream.get_final_message()
                self.assertEqual((text, message.content[0].text), (said(mock, 5), said(mock, 5)))
                self.assertEqual(message.stop_reason, "end_turn")

    def test_the_events_one_by_one(self):
        for model, mock in ALL:
            with self.subTest(model):
                events = list(create(model, "hello", stream=True))
                kinds = [event.type for event in events if event.type != "ping"]
                self.assertEqual(kinds[:2], ["message_start", "content_block_start"])
                self.assertEqual(kinds[-3:], ["content_block_stop", "message_delta", "message_stop"])
                text = "".join(event.delta.text for event in events if event.type == "content_block_delta")
                self.assertEqual(text, said(mock, 5))

    def test_an_error_in_the_middle(self):
        for model, mock in ALL:
            with self.subTest(model):
                fault(mock, "close@3")
                text = ""
                with self.assertRaises(anthropic.APIError):
                    with client().messages.stream(model=model, max_tokens=100, messages=user("hello")) as stream:
                        for piece in stream.text_stream:
                            text += piece
                self.assertEqual(text, "This is " + mock + " ")


class Tools(Case):
    def rounds(self, model, question):
        first = create(model, question, tools=[WEATHER])
        self.assertEqual(first.stop_reason, "tool_use")
        calls = [block for block in first.content if block.type == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sun"} for call in calls]
        turns = [*user(question), {"role": "assistant", "content": first.content}, *user(results)]
        return calls, create(model, "", messages=turns, tools=[WEATHER])

    def test_one_call_and_two_at_once(self):
        for model, _ in ALL:
            for question, count in [("call get_weather", 1), ("call get_weather twice", 2)]:
                with self.subTest(model, question=question):
                    calls, last = self.rounds(model, question)
                    self.assertEqual([call.input for call in calls], [{"city": f"mock {n}", "days": n} for n in range(1, count + 1)])
                    self.assertEqual(len({call.id for call in calls}), count)
                    self.assertIn(f"{count} tool results", last.content[0].text)
                    self.assertEqual(last.stop_reason, "end_turn")

    def test_a_result_that_is_an_error_and_one_in_blocks(self):
        for model, _ in ALL:
            with self.subTest(model):
                first = create(model, "call get_weather", tools=[WEATHER])
                call = next(block for block in first.content if block.type == "tool_use")
                result = {
                    "type": "tool_result",
                    "tool_use_id": call.id,
                    "is_error": True,
                    "content": [{"type": "text", "text": "no such city"}],
                }
                turns = [*user("call get_weather"), {"role": "assistant", "content": first.content}, *user([result])]
                self.assertIn("1 tool results", create(model, "", messages=turns, tools=[WEATHER]).content[0].text)

    def test_calls_in_a_stream(self):
        for model, _ in ALL:
            with self.subTest(model):
                with client().messages.stream(
                    model=model, max_tokens=100, messages=user("call get_weather twice"), tools=[WEATHER]
                ) as stream:
                    message = stream.get_final_message()
                calls = [block for block in message.content if block.type == "tool_use"]
                self.assertEqual([call.input["city"] for call in calls], ["mock 1", "mock 2"])
                self.assertEqual(message.stop_reason, "tool_use")

    def test_a_choice_of_tools(self):
        for model, _ in ALL:
            with self.subTest(model):
                for choice, called in [("none", False), ("auto", False), ("any", True)]:
                    answer = create(model, "hello", tools=[WEATHER], tool_choice={"type": choice})
                    self.assertEqual(answer.stop_reason == "tool_use", called, choice)


class Thinking(Case):
    def test_thoughts_are_signed_and_come_back_over_two_turns(self):
        think = {"type": "enabled", "budget_tokens": 2000}
        first = create(ANTHROPIC, "call get_weather", max_tokens=4000, thinking=think, tools=[WEATHER])
        self.assertEqual(first.content[0].type, "thinking")
        self.assertTrue(first.content[0].signature)
        call = next(block for block in first.content if block.type == "tool_use")
        result = [{"type": "tool_result", "tool_use_id": call.id, "content": "sun"}]
        turns = [*user("call get_weather"), {"role": "assistant", "content": first.content}, *user(result)]
        last = create(ANTHROPIC, "", messages=turns, max_tokens=4000, thinking=think, tools=[WEATHER])
        self.assertIn("1 tool results", last.content[-1].text)

    def test_thoughts_in_a_stream(self):
        think = {"type": "enabled", "budget_tokens": 2000}
        with client().messages.stream(
            model=ANTHROPIC, max_tokens=4000, messages=user("hello"), thinking=think
        ) as stream:
            message = stream.get_final_message()
        self.assertEqual([block.type for block in message.content], ["thinking", "text"])
        whole = create(ANTHROPIC, "hello", max_tokens=4000, thinking=think)
        self.assertEqual(message.content[0].signature, whole.content[0].signature)


class Vision(Case):
    def test_pictures_by_address_and_within(self):
        blocks = [
            {"type": "text", "text": "look"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
            {"type": "image", "source": {"type": "url", "url": "https://example.com/cat.png"}},
        ]
        for model, mock in ALL:
            with self.subTest(model):
                text = create(model, blocks).content[0].text
                self.assertEqual(text, f"This is {mock} answering a question of 4 characters, 2 images.")


class OtherDoors(Case):
    def test_tokens_are_counted(self):
        counted = client().messages.count_tokens(model=ANTHROPIC, messages=user("hello you there"))
        self.assertEqual(counted.input_tokens, 4)

    def test_models(self):
        names = {model.id for model in client().models.list()}
        self.assertLessEqual({OPENAI, ANTHROPIC}, names)
        self.assertEqual(client().models.retrieve(ANTHROPIC).id, ANTHROPIC)


class Errors(Case):
    def test_an_unknown_model(self):
        with self.assertRaises(anthropic.BadRequestError) as caught:
            create("nobody", "hello")
        self.assertEqual(caught.exception.body["error"]["type"], "invalid_request_error")
        self.assertTrue(caught.exception.request_id)

    def test_a_wrong_key(self):
        with self.assertRaises(anthropic.AuthenticationError):
            client(api_key="sk-sg-wrong").messages.create(model=ANTHROPIC, max_tokens=5, messages=user("hello"))

    def test_a_key_as_a_token(self):
        answer = client(api_key=None, auth_token=KEY).messages.create(model=ANTHROPIC, max_tokens=100, messages=user("hello"))
        self.assertEqual(answer.content[0].text, said("anthropic", 5))

    def test_a_request_that_the_provider_refuses(self):
        for model, mock in ALL:
            with self.subTest(model):
                fault(mock, "refuse:context")
                with self.assertRaises(anthropic.BadRequestError) as caught:
                    create(model, "hello")
                self.assertIn("maximum context length", str(caught.exception))

    def test_a_provider_that_fails(self):
        for model, mock in ALL:
            with self.subTest(model):
                fault(mock, "500", 10)
                with self.assertRaises(anthropic.InternalServerError):
                    create(model, "hello")
                order(mock, "reset")

    def test_a_limit_says_when_to_come_again(self):
        limited = client(base_url=f"{GATEWAY}/limited-too")
        for _ in range(2):
            limited.messages.create(model=ANTHROPIC, max_tokens=5, messages=user("hello"))
        with self.assertRaises(anthropic.RateLimitError) as caught:
            limited.messages.create(model=ANTHROPIC, max_tokens=5, messages=user("hello"))
        self.assertGreater(int(caught.exception.response.headers["retry-after"]), 0)
        self.assertEqual(caught.exception.body["error"]["type"], "rate_limit_error")

    def test_a_client_that_does_not_wait(self):
        order("anthropic", "latency", {"latency": "20s"})
        with self.assertRaises(anthropic.APITimeoutError):
            client(timeout=1).messages.create(model=ANTHROPIC, max_tokens=5, messages=user("hello"))
        deadline = time.monotonic() + 10
        while look("anthropic", "ledger")["total"]["cancelled"] == 0:
            self.assertLess(time.monotonic(), deadline, "the provider is left when its client is")
            time.sleep(0.05)


class Raw(Case):
    def test_headers(self):
        raw = client().messages.with_raw_response.create(model=ANTHROPIC, max_tokens=100, messages=user("hello"))
        self.assertEqual(raw.headers["x-sluicegate-target"], f"anthropic/{ANTHROPIC}")
        self.assertTrue(raw.headers["request-id"])
        self.assertEqual(raw.parse().content[0].text, said("anthropic", 5))


class Async(AsyncCase):
    async def test_many_at_once(self):
        one = anthropic.AsyncAnthropic(base_url=GATEWAY, api_key=KEY, max_retries=0, timeout=30)
        async with one:
            asked = [
                one.messages.create(model=model, max_tokens=100, messages=user("x" * n))
                for n in range(1, 21)
                for model, _ in ALL
            ]
            answers = await asyncio.gather(*asked)
        expected = [said(mock, n) for n in range(1, 21) for _, mock in ALL]
        self.assertEqual([answer.content[0].text for answer in answers], expected)

    async def test_a_stream_that_is_left(self):
        order("anthropic", "orders", {"sse": "rate=20,events=1000"})
        one = anthropic.AsyncAnthropic(base_url=GATEWAY, api_key=KEY, max_retries=0, timeout=30)
        async with one, one.messages.stream(model=ANTHROPIC, max_tokens=5000, messages=user("hello")) as stream:
            async for _ in stream.text_stream:
                break
        for _ in range(200):
            if look("anthropic", "ledger")["total"]["cancelled"] == 1:
                return
            await asyncio.sleep(0.05)
        self.fail("the provider was not left")


class OtherPrefix(Case):
    def test_below_any_prefix(self):
        one = client(base_url=f"{GATEWAY}/api/v1/ai")
        answer = one.messages.create(model=ANTHROPIC, max_tokens=100, messages=user("hello"))
        self.assertEqual(answer.content[0].text, said("anthropic", 5))


if __name__ == "__main__":
    main()
