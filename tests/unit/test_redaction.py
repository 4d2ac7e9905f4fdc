"""What looks like a secret never passes, and what merely counts tokens does."""

from __future__ import annotations

import re
import string
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.redaction import HINTS, REDACTED, SECRET_KEY, SECRETS, is_secret, may_hold_secrets, redact

ALNUM = "abcdefghijklmnopqrstuvwxyz0123456789"

CANARIES = (
    f"sk-proj-{ALNUM}",
    f"sk-ant-api03-{ALNUM}",
    f"AIza{ALNUM}",
    f"hf_{ALNUM}",
    f"gsk_{ALNUM}",
    f"xai-{ALNUM}",
    f"pplx-{ALNUM}",
    f"sk_live_{ALNUM}",
    f"rk_test_{ALNUM}",
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    *(f"gh{kind}_{ALNUM}" for kind in "pousr"),
    f"github_pat_{ALNUM}",
    f"glpat-{ALNUM}",
    f"xoxb-{ALNUM}",
    f"xapp-{ALNUM}",
    f"eyJ{ALNUM}.{ALNUM}.{ALNUM}",
    f"Bearer {ALNUM}",
    f"basic {ALNUM}=",
    f"postgres://root:{ALNUM}@db/x",
    f"-----BEGIN RSA PRIVATE KEY-----\n{ALNUM}",
    f"password={ALNUM}",
    f'"passphrase": "{ALNUM}"',
    f"client_secret={ALNUM}",
    f"API-KEY: {ALNUM}",
    *(f"{kind}{dash}token = {ALNUM}" for kind in ("access", "auth", "Refresh", "SESSION") for dash in ("", "_", "-")),
    f"access_token\n=\n{ALNUM}",
    f"'access_token': '{ALNUM}'",
)


def test_web_tokens_that_come_to_nothing_take_time_in_proportion_to_their_length() -> None:
    def took_s(times: int) -> float:
        began = time.process_time()
        assert redact("eyJ-" * times) == "eyJ-" * times
        return time.process_time() - began

    took_s(1_000)
    assert min(took_s(128_000) for _ in range(3)) < 40 * min(took_s(16_000) for _ in range(5))  # 64 where it is squared


WEB_TOKEN = re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*")


@given(st.lists(st.sampled_from(["eyJ", "abcdefgh", ".", "-", "_", " ", "x", "é", "."]), max_size=24).map("".join))
def test_a_web_token_is_found_wherever_it_stands(text: str) -> None:
    assert redact(text) == WEB_TOKEN.sub(REDACTED, text)


@pytest.mark.parametrize("canary", CANARIES)
def test_a_secret_in_a_text_is_found_and_its_line_is_looked_through(canary: str) -> None:
    text = f"the call failed: {canary} (401)"
    assert ALNUM not in redact(text)
    assert "EXAMPLE" not in redact(text)
    assert REDACTED in redact(text)
    assert may_hold_secrets(msgspec.json.encode({"message": text}))


@pytest.mark.parametrize(
    "key",
    [
        *("password", "db.passwd", "token", "github_token", "bot-token", "x.token", "accessToken", "API_KEY"),
        *("x-api-key", "http.request.header.authorization", "Set-Cookie", "client_secret", "aws.credentials"),
        *("privateKey", "access_token_value", "auth_tokens", "refreshtoken_v2", "my-session-token-id"),
    ],
)
def test_what_stands_behind_the_key_of_a_secret_is_one(key: str) -> None:
    assert is_secret(key, "anything")
    assert not is_secret(key, None)
    assert may_hold_secrets(msgspec.json.encode({key: "anything"}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("prompt_tokens", 900),
        ("gen_ai.usage.input_tokens", "900"),
        ("llm.token_count.total", 1000),
        ("gen_ai.token.type", "input"),
        ("token_budget", 5000),
        ("max_token", 100),
        ("tokenizer", "cl100k"),
        ("key", "value"),
    ],
)
def test_counts_of_tokens_are_no_secrets(key: str, value: Any) -> None:
    assert not is_secret(key, value)


@pytest.mark.parametrize(
    "more",
    [
        '"type":"llm_call"',
        '"type":"task_finished","id":"task-2026-01-05-0001-attempt"',
        '"url":"https://api.openai.com/v1","text":"a: b@c"',
        '"text":"see http://localhost:4318"',
        '"text":"work_test, fork_live"',
    ],
)
def test_a_usual_line_need_not_be_looked_through(more: str) -> None:
    line = f'{{"ts":"2026-01-05T10:00:00.000Z","agent":"Coder","usage":{{"prompt_tokens":1}},"span_id":"1",{more}}}'
    assert not may_hold_secrets(line.encode())


@pytest.mark.parametrize("before", ["\n", "\t", "\x01", "-", '"', "“", "/"])
def test_a_key_is_seen_behind_whatever_json_escapes(before: str) -> None:
    text = f"x{before}sk-{ALNUM}"
    assert ALNUM not in redact(text)
    assert may_hold_secrets(msgspec.json.encode({"message": text}))


PIECES = st.sampled_from(
    [
        *CANARIES,
        *ALNUM,
        "token",
        "access_",
        "pass",
        "word",
        "=",
        ":",
        '"',
        "\\",
        " ",
        "\n",
        "://",
        "@",
        "sk-",
        "\x01",
        "/",
        ALNUM,
        "Key",
        "é",
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join), st.lists(PIECES, max_size=4).map("".join))
def test_a_line_that_need_not_be_looked_through_holds_no_secret(text: str, key: str) -> None:
    if not may_hold_secrets(msgspec.json.encode({key: text})):
        assert redact(text) == text
        assert redact(key) == key
        assert not SECRET_KEY.search(key)


@given(st.from_regex(SECRET_KEY, alphabet=string.ascii_letters + string.digits + "._-"))
def test_a_line_with_the_key_of_a_secret_is_looked_through(key: str) -> None:
    assert may_hold_secrets(msgspec.json.encode({key: "anything"}))


@given(st.text())
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_the_patterns_are_few() -> None:
    assert len(SECRETS) <= 12  # each runs over every text


def test_what_is_rare_in_a_hint_is_a_part_of_it() -> None:
    assert all(mark in hint and len(mark) == 3 for hint, mark in HINTS.items())
