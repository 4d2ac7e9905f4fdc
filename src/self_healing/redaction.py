"""What looks like a secret, and what stands there instead: one place for all that is stored, logged or handed over."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

REDACTED: Final = "[redacted]"

SECRETS: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # a private key, even one that was cut off before its end
        (r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", REDACTED),
        # OpenAI, Anthropic, Langfuse and their like; \b lets task-... and risk-... pass
        (r"\bsk-[A-Za-z0-9_-]{16,}", REDACTED),
        # Google, Hugging Face, Groq, xAI, Perplexity, Stripe
        (
            r"\b(?:AIza[A-Za-z0-9_-]{30,}|hf_[A-Za-z0-9]{30,}|gsk_[A-Za-z0-9]{20,}|xai-[A-Za-z0-9]{20,}"
            r"|pplx-[A-Za-z0-9]{20,}|[rs]k_(?:live|test)_[A-Za-z0-9]{16,})",
            REDACTED,
        ),
        # AWS access keys
        (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", REDACTED),
        # GitHub, GitLab, Slack
        (
            r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}"
            r"|xox[abeprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,})",
            REDACTED,
        ),
        # JSON web tokens; each run of their letters is looked at once, from its begin, and only where two dots follow:
        # to begin anew at each eyJ would take a minute for a megabyte of them
        (
            r"(?<![A-Za-z0-9_-])(?=[A-Za-z0-9_-]++\.[A-Za-z0-9_-]{8,}+\.)([A-Za-z0-9_-]*?)"
            r"\beyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]*",
            rf"\1{REDACTED}",
        ),
        # HTTP authorization
        (r"(?ai)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{12,}", rf"\1 {REDACTED}"),
        # user:password@ in an address
        (r"(://)[^/\s:@]*:[^/\s@]+(?=@)", rf"\1{REDACTED}"),
        # password=..., "api_key": "..."
        (
            r"(?ai)(passw(?:or)?d|passphrase|secret|api[_-]?key|(?:access|auth|refresh|session)[_-]?token)"
            r"([\"']?\s*[=:]\s*)(?:\"[^\"]*\"?|'[^']*'?|[^\s\"'&,;]+)",
            rf"\1\2{REDACTED}",
        ),
    )
)
"""What looks like a secret, and what stands there instead. Keep it short: each pattern runs over every text."""

SECRET_KEY: Final = re.compile(
    r"(?ai)passw(or)?d|passphrase|secret|credential|authorization|cookie|api[_-]?key|private[_-]?key"
    r"|(?:\A|[._-])token\Z|(access|auth|refresh|session)[_-]?token"
)
"""The value behind such a key is a secret, whatever it looks like; not so ``total_tokens`` and ``token_budget``."""

_TOKENS: Final = {b"access": b"acc", b"auth": b"uth", b"refresh": b"efr", b"session": b"ssi"}
"""A token of these is a secret wherever in a key it is named, so also in ``access_token_value``."""

HINTS: Final[dict[bytes, bytes]] = {
    **{b"private": b"iva", b"passw": b"ssw", b"passphrase": b"sph", b"secret": b"ecr", b"credential": b"tia"},
    **{b"authorization": b"riz", b"cookie": b"oki", b"api_key": b"i_k", b"api-key": b"i-k", b"apikey": b"pik"},
    **{b"bearer": b"rer", b"basic": b"sic", b"://": b"://", b"eyj": b"eyj"},
    **{b'token"': b'en"', b"token'": b"en'", b"token\\": b"en\\", b"token=": b"en=", b"token:": b"en:"},
    **{name + line + b"token": mark for name, mark in _TOKENS.items() for line in (b"", b"_", b"-")},
    **{b"token ": b"en ", b"token\t": b"en\t", b"sk-": b"sk-", b"gsk_": b"gsk", b"k_live_": b"k_l", b"k_test_": b"k_t"},
    **{b"aiza": b"aiz", b"hf_": b"hf_", b"xai-": b"xai", b"pplx-": b"plx", b"akia": b"kia", b"asia": b"sia"},
    **{b"ghp_": b"ghp", b"gho_": b"gho", b"ghu_": b"ghu", b"ghs_": b"ghs", b"ghr_": b"ghr", b"github_pat_": b"b_p"},
    **{b"glpat-": b"glp", b"xox": b"xox", b"xapp-": b"xap"},
}
"""In a line of JSON in small letters without any of these, there is nothing that looks like a secret.

With each of them three letters out of it that are rare elsewhere, and the last two of them if it can be, for whoever
looks through many lines at once.
"""

CLOSER: Final = {
    # not task-1 and risk-2; in JSON a letter may stand before it that belongs to what was escaped
    b"sk-": re.compile(rb"(?:(?<![a-z0-9_])|(?<=\\[bfnrt])|(?<=\\u[0-9a-f]{4}))sk-[a-z0-9_-]{16}"),
    b"://": re.compile(rb"://[^/:@]*:[^/@]+@"),  # not the addresses that name nobody
}
"""Of the hints that harmless lines often have, what more must be there. Whatever :data:`SECRETS` find has it."""

SHORTEST: Final = 8
"""Characters of a secret that is known, and is looked for as such."""

KEY_LONGEST: Final = 200
"""So many characters of a key are looked at."""


def redact(text: str) -> str:
    """`text` without what looks like a secret."""
    for pattern, replacement in SECRETS:
        if pattern.search(text) is not None:  # nearly never, and to look takes half as long as to replace nothing
            text = pattern.sub(replacement, text)
    return text


def without(text: str, secrets: Iterable[str]) -> str:
    """`text` without these very secrets, which whoever was shown them may have said again.

    What is shorter than 8 characters is a word as soon as a secret, and stays.
    """
    for secret in sorted({each for each in secrets if len(each) >= SHORTEST}, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return text


@lru_cache(maxsize=4096)
def _names_secret(key: str) -> bool:
    """Whether a key says that a secret is behind it; nearly all keys come again and again."""
    return SECRET_KEY.search(key) is not None


def is_secret(key: str, value: Any) -> bool:
    """Whether `value` is a secret because of the key that it stands behind; a number of tokens is none."""
    if value is None or not _names_secret(key[:KEY_LONGEST]):
        return False
    return not (isinstance(value, int | float) and "token" in key.lower())


def without_secrets(value: Any) -> Any:
    """`value`, as JSON has them, with every secret in it redacted."""
    match value:
        case str():
            return redact(value)
        case dict():
            return {
                redact(key): REDACTED if is_secret(key, item) else without_secrets(item) for key, item in value.items()
            }
        case list():
            return [without_secrets(item) for item in value]
        case _:
            return value


def may_hold_secrets(line: bytes) -> bool:
    """Whether a line of JSON has to be looked through for secrets; a No is certain, and quick."""
    small = line.lower()
    return any(hint in small and (hint not in CLOSER or CLOSER[hint].search(small)) for hint in HINTS)
