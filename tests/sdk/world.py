"""What the suites run against: the gateway, and the mocks behind it, which take orders under /mock/."""

import json
import os
import unittest
import urllib.request

GATEWAY = os.environ["SG_GATEWAY"]
KEY = os.environ["SG_KEY"]
MOCKS = {name: os.environ[f"SG_{name.upper()}"] for name in ("openai", "anthropic", "gemini")}

# A model of each mock, by its dialect, and one that no provider has a key for.
OPENAI, ANTHROPIC, GEMINI = "gpt-4o", "claude-sonnet-4-5", "gemini-2.5-pro"
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def order(mock, command, what=None):
    """POST /mock/COMMAND of a mock."""
    request = urllib.request.Request(
        f"{MOCKS[mock]}/mock/{command}", data=json.dumps(what or {}).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def look(mock, command):
    """GET /mock/COMMAND of a mock."""
    with urllib.request.urlopen(f"{MOCKS[mock]}/mock/{command}", timeout=10) as answer:
        return json.load(answer)


def fault(mock, name, count=1):
    """The next requests to a mock meet this fault."""
    order(mock, "fault", {"fault": name, "count": count})


def said(mock, chars):
    """What a mock says to a question of so many characters."""
    return f"This is {mock} answering a question of {chars} characters."


class Case(unittest.TestCase):
    """A case that leaves the mocks as it found them."""

    def tearDown(self):
        for name in MOCKS:
            order(name, "reset")


class AsyncCase(unittest.IsolatedAsyncioTestCase):
    """The same for coroutines."""

    def tearDown(self):
        for name in MOCKS:
            order(name, "reset")


def main():
    """Runs the cases of the file that calls it."""
    unittest.main(module="__main__", verbosity=2)
