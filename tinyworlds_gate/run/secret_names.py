"""Recognise the names of secrets: variables, options, keys of JSON and YAML, HTTP headers (pure)."""

from __future__ import annotations

import re
from functools import lru_cache

STRONG, WEAK = "strong", "weak"
"""STRONG: any value is secret. WEAK: numbers and plain words are harmless (``token: 17``, ``auth: required``)."""

_STRONG = {"password", "passwd", "passwort", "pwd", "passphrase", "passcode", "passwords", "secret", "secrets"}
_WEAK = {
    *("token", "auth", "authorization", "credential", "credentials", "creds", "cookie", "cookies", "jwt", "bearer"),
    *("apikey", "apikeys", "accesskey", "secretkey", "privatekey", "authkey", "passkey"),
}
_STRONG_ENDS = ("password", "passwd", "passphrase", "secret")
_WEAK_ENDS = ("apikey", "token", "secretkey", "accesskey")
"""Words that are written together with the word before them: ``PGPASSWORD``, ``authtoken``."""
_COMPOUND = {"pw", "pat", "cred", "secretstr"}
"""Secret only as the last of several words: ``db_pass``, ``GH_PAT``."""
_ACCOUNTS = {
    *("db", "database", "smtp", "mail", "email", "redis", "pg", "postgres", "mysql", "mongo", "user", "admin", "root"),
    *("ftp", "sftp", "ldap", "proxy", "rabbitmq", "amqp", "http", "basic", "docker", "registry", "login", "vnc", "my"),
    *("ssh", "key", "keystore", "jupyter", "sudo", "ca", "cert", "api", "service", "test", "app"),
}
"""What stands before `pass`, which is else a verdict or a part of an update."""
_PAIRS = {
    *(("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key"), ("account", "key"), ("auth", "key")),
    *(("encryption", "key"), ("signing", "key"), ("license", "key"), ("master", "key"), ("service", "key")),
    *(("storage", "key"), ("shared", "key"), ("deploy", "key"), ("ssh", "key"), ("session", "key"), ("wandb", "key")),
    *(("kaggle", "key"), ("fernet", "key"), ("subscription", "key"), ("session", "id"), ("api", "keys")),
    *(("access", "keys"), ("secret", "keys"), ("api", "tokens"), ("access", "tokens"), ("auth", "tokens")),
    *(("connection", "string"), ("conn", "str"), ("access", "signature"), ("webhook", "url"), ("amz", "credential")),
}
_LONG_ONLY = {"key", "keys", "sig", "signature", "session", "sid", "sas", "dsn", "nonce", "otp", "salt"}
"""Secret as the last word, where the value looks random."""
_HARMLESS_KEYS = {
    *("cache", "primary", "foreign", "sort", "missing", "unexpected", "public", "dict", "state", "partition", "lookup"),
    *("row", "index", "group", "config", "settings", "metric", "wrong", "unknown", "duplicate"),
}
_HARMLESS_BEFORE = {
    *("pad", "eos", "bos", "mask", "unk", "cls", "sep", "special", "next", "previous", "per", "frame", "num", "masked"),
    *("predicted", "unexpected", "first", "last", "current", "visual", "action", "latent", "patch", "image", "text"),
    *("video", "forward", "backward", "every", "each", "no", "without", "id", "csrf"),
}
_HARMLESS_AFTER = {
    *("path", "paths", "file", "files", "filename", "dir", "folder", "sock", "socket", "name", "type", "kind", "count"),
    *("counts", "size", "sizes", "length", "len", "dim", "dims", "num", "number", "index", "idx", "indices", "ids"),
    *("shape", "choice", "choices", "embedding", "embeddings", "embed", "clips", "loss", "accuracy", "error", "errors"),
    *("rate", "uri", "endpoint", "timeout", "expiry", "expires", "expired", "ttl", "policy", "mode", "method"),
    *("required", "enabled", "disabled", "level", "prefix", "suffix", "format", "field", "provider", "backend"),
    *("server", "host", "port", "limit", "budget", "usage", "map", "mask", "mixing", "mixer", "position", "positions"),
    *("per", "logits", "frequency", "probability", "entropy", "grid", "step", "steps", "seconds", "failed", "failure"),
    *("missing", "stdin", "helper", "manager", "store", "scheme", "user", "username", "sha", "commit", "class"),
    *(
        "present",
        "valid",
        "removed",
        "found",
        "hidden",
        "invalid",
        "callback",
        "handler",
        "module",
        "parallelism",
        "codes",
        "used",
        "chooser",
    ),
}
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD = re.compile(r"[a-z0-9]+")
_DIGITS = re.compile(r"(?<=[a-z])\d+$")
_HINT = re.compile(r"(?i)pass|pwd|pw\b|secret|token|auth|cred|cookie|jwt|bearer|key|sig|session|sid|sas|dsn|pat|otp"
                   r"|string|str|salt|webhook|nonce")  # fmt: skip
_LONGEST_NAME = 200
"""Of a longer name only the end is read."""
_MOST_WORDS = 9
"""A longer name is a sentence, such as a test's name."""


def _words(name: str) -> list[str]:
    return [_DIGITS.sub("", word) for word in _WORD.findall(_CAMEL.sub("_", name).lower())]


@lru_cache(maxsize=4096)
def _kind(name: str) -> str | None:
    words, in_last = _words(name), len(_words(name.rpartition(".")[2]))
    if len(words) > _MOST_WORDS:
        return None
    for at in range(len(words) - 1, len(words) - 1 - in_last, -1):
        word, before = words[at], words[at - 1] if at else ""
        strong = word in _STRONG or word.endswith(_STRONG_ENDS)
        compound = at == len(words) - 1 and ((before and word in _COMPOUND) or (word == "pass" and before in _ACCOUNTS))
        if not (strong or word in _WEAK or word.endswith(_WEAK_ENDS) or compound or (before, word) in _PAIRS):
            continue
        if _HARMLESS_AFTER.intersection(words[at + 1 :]) or before in _HARMLESS_BEFORE:
            return None
        return STRONG if strong else WEAK
    return None


def secret_kind(name: str) -> str | None:
    """Return STRONG or WEAK for the name of a secret; None for any other (``num_tokens``, ``token_choice``)."""
    name = name[-_LONGEST_NAME:]
    return _kind(name) if _HINT.search(name) else None


@lru_cache(maxsize=4096)
def _ends_as_key(name: str) -> bool:
    words = _WORD.findall(_CAMEL.sub("_", name).lower())
    if not words:
        return False
    if len(words) > 1 and words[-1] in ("key", "keys") and words[-2] in _HARMLESS_KEYS:
        return False
    return _DIGITS.sub("", words[-1]) in _LONG_ONLY


def may_name_long_secret(name: str) -> bool:
    """Whether a long random value of this name is secret (``wandb_key``, ``sig``; not ``cache_key``)."""
    name = name[-_LONGEST_NAME:]
    return bool(_HINT.search(name)) and _ends_as_key(name)


def is_header(name: str) -> bool:
    """Whether the name is an HTTP header whose whole line is secret."""
    return name.lower().lstrip("-").rpartition(".")[2] in (
        *("authorization", "proxy-authorization", "cookie", "set-cookie", "x-amz-security-token"),
    )
