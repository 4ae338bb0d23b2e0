"""Find secrets by their shape alone: keys of known services, URLs with passwords, PEM blocks, netrc lines (pure).

Each pattern starts at the edge of a word and its repetitions are possessive or bounded, so that the time grows with
the length of the text and not with its square.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

Span = tuple[int, int]

_EDGE = r"(?<![A-Za-z0-9])"
_KEYS = re.compile(
    _EDGE
    + r"(?:"
    + r"|".join(
        (
            r"hf_[A-Za-z0-9]{16,}+|api_org_[A-Za-z0-9]{16,}+",
            r"gh[pousr]_[A-Za-z0-9]{16,}+|github_pat_\w{16,}+|gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat)-[\w-]{16,}+",
            r"wandb_v\d{1,3}_\w{16,}+",
            r"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}(?![0-9A-Za-z])",
            r"AIza[\w-]{30,}+|ya29\.[\w-]{16,}+|GOCSPX-[\w-]{16,}+|1//0[\w-]{24,}+",
            r"xox[a-z]{1,2}(?:\.xox[a-z])?-[\w-]{10,}+|xapp-[\w-]{10,}+",
            r"eyJ[\w-]{6,}+(?:\.[\w-]{4,}+)(?:\.[\w-]*+)*+|eyJ[\w-]{40,}+|eyJ(?:hbGciOi|0eXAiOi|raWQiOi)[\w-]*+",
            r"npm_[A-Za-z0-9]{30,}+|pypi-AgE[\w-]{16,}+|dckr_(?:pat|oat)_[\w-]{16,}+|do[opr]_v1_[0-9a-f]{16,}+",
            r"(?:sk|rk|pk|whsec)_(?:live|test)_[A-Za-z0-9]{12,}+|whsec_[A-Za-z0-9+/=]{16,}+",
            r"nvapi-[\w-]{20,}+|r8_[A-Za-z0-9]{30,}+|gsk_[A-Za-z0-9]{20,}+|xai-[A-Za-z0-9]{20,}+|pplx-[A-Za-z0-9]{20,}+",
            r"lsv2_[a-z]{2}_\w{16,}+|tvly-[\w-]{16,}+|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{16,}+|lin_api_[A-Za-z0-9]{16,}+",
            r"SG\.[\w-]{16,}+\.[\w-]{16,}+|PMAK-[\w-]{16,}+|sq0[a-z]{3}-[\w-]{16,}+|hv[sb]\.[\w-]{20,}+",
            r"AGE-SECRET-KEY-1[0-9A-Z]{20,}+|glsa_\w{20,}+|dapi[0-9a-f]{32}|ntn_[A-Za-z0-9]{20,}+|dp\.[a-z]{2}\.\w{20,}+",
            r"[A-Za-z0-9_~.-]{3}8Q~[\w~.-]{31,34}",
            r"\d{8,10}:AA[\w-]{30,}+",
        )
    )
    + r")"
)
_MIXED_KEYS = re.compile(_EDGE + r"(?:sk-[\w-]{16,}+|pypi-[\w-]{24,}+|key-[0-9a-f]{32}|s\.[A-Za-z0-9]{24}(?!\w))")
_AZURE_KEY = re.compile(r"(?<![A-Za-z0-9+/=:-])[A-Za-z0-9+/]{86}==(?![A-Za-z0-9+/=])")
_HOOKS = re.compile(
    r"(?:hooks\.slack\.com/(?:services|workflows|triggers)|discord(?:app)?\.com/api/webhooks|webhook\.office\.com)"
    r"/(?P<value>[\w/@.+-]{8,}+)"
)
_URL = re.compile(r":(?:\\{0,3}/){2}|%3A%2F%2F", re.IGNORECASE)
_USER = re.compile(r"(?P<value>(?:[^\s/?#@'\"<>\\]{1,300}+@)+)|(?P<encoded>[^\s&/@'\"<>]{1,400}?)%40", re.IGNORECASE)
_SLASHED = re.compile(r"[^\s:/@'\"<>]{0,100}+:(?!\d{1,5}(?:[/?#]|$))(?P<value>[^\s'\"<>]{1,400})@(?=[\w.\[-])")
_LOGIN_LENGTH = 600
_ORACLE = re.compile(r":thin:(?P<value>[^\s@'\"]{3,200}+)@")
_LOGIN_AT_HOST = re.compile(
    r"(?<![\w.%+:/@-])[\w.%+-]{1,64}+:(?P<value>[^\s:/@'\"<>,;()]{6,200}+)@(?=[\w-]{1,63}(?:\.[\w-]{1,63})+)"
)
_SCHEME = re.compile(r"(?i)(?<![\w-])(?:bearer|basic|negotiate)[ \t]{1,4}+(?P<value>[A-Za-z0-9._~+/=-]{8,}+)")
_PROSE = re.compile(r"[A-Z]?[a-z]+(?:[-_/.][A-Za-z]?[a-z]+)*[.=]*")
_HASHES = re.compile(r"\$(?:2[abxy]|1|5|6|y|7|apr1|argon2(?:id?|d))\$[^\s:'\"]{16,}+")
_NETRC = re.compile(
    r"(?<!\S)(?:login|machine)\s{1,4}\S{1,200}+\s{1,4}(?:account\s{1,4}\S{1,200}+\s{1,4})?"
    r"pass(?:word|wd)\s{1,4}(?P<value>\S++)"
)
_PASSWORD_LINE = re.compile(r"(?m)^[ \t]{0,20}+pass(?:word|wd)[ \t]{1,8}+(?P<value>[^\s=:]\S*+)[ \t]*+$")
_PGPASS = re.compile(
    r"(?m)(?:^|(?<=[\s'\"]))[\w.*-]{1,200}+:(?:\d{4,5}|\*):[A-Za-z_*][\w*-]{0,100}+:[A-Za-z_*][\w*-]{0,100}+:(?P<value>\S++)$"
)
_WANDB_LOGIN = re.compile(
    r"(?i)wandb(?=[^\n]{0,120}?(?:login|key))[^\n]{0,150}?(?<![0-9a-f])(?<!commit )(?<!rev )(?<!sha )"
    r"(?P<value>[0-9a-f]{40})(?![0-9a-f])"
)
_AWS_LINE = re.compile(
    r"(?i)(?<![a-z])(?:aws|akia[0-9a-z]{16}|asia[0-9a-z]{16})[^\n]{0,200}?"
    r"(?-i:(?<![A-Za-z0-9+/=_.-])(?P<value>[A-Za-z0-9+/]{40})(?![A-Za-z0-9+/=_.-]))"
)
_SQL = re.compile(r"(?i)(?<!\w)identified\s{1,4}by\s{1,4}(?:password\s{1,4})?['\"](?P<value>[^'\"\n]{1,300}+)")
_PUTTY = re.compile(r"(?i)Private-Lines:\s*\d+(?P<value>(?:\s+[A-Za-z0-9+/=]{20,}+)+)")

_PROGRAMS = re.compile(
    r"(?<![\w.-])(?:"
    r"(?:sshpass|my(?:sql|loader|dumper)\w{0,12}|mariadb[\w-]{0,12}|mongo\w{0,12}|7z[a-z]?|unrar)"
    r"(?P<small>[ \t][^\n|;&]{0,300}?(?<=[ \t])-p)"
    r"|(?:sqlcmd|bcp|zip|unzip)(?P<capital>[ \t][^\n|;&]{0,300}?(?<=[ \t])-P)"
    r"|(?:docker|podman|buildah|skopeo|helm|oc|az|nerdctl|cf)"
    r"(?P<login>[ \t][^\n|;&]{0,100}?login[^\n|;&]{0,300}?(?<=[ \t])-p)"
    r"|(?:redis-cli|rediscli)(?P<redis>[ \t][^\n|;&]{0,300}?(?<=[ \t])-a)"
    r"|ldap[a-z]{2,12}(?P<ldap>[ \t][^\n|;&]{0,300}?(?<=[ \t])-w)"
    r"|(?:curl|http|https|wget|smbclient)"
    r"(?P<user>[ \t][^\n|;&]{0,400}?(?<=[ \t])(?:-u|-U|-a|--user|--auth|--proxy-user))"
    r"|wandb(?P<wandb>[ \t]{1,4}login(?:[ \t]{1,4}--?[a-z][\w-]{0,30}+(?:=\S{1,200}+)?){0,6}+)(?=[ \t])"
    r"|configure[ \t]{1,4}set(?P<set>[ \t]{1,4}[\w.-]{0,80}(?:key|token|secret|password)[\w.-]{0,20})(?=[ \t])"
    r"|openssl(?P<openssl>[ \t][^\n|;&]{0,300}?(?<![\w])pass:)"
    r")"
)
_ARGUMENT = re.compile(r"[ \t=]{0,4}+(?P<quote>\\?['\"])?(?P<value>(?(quote)[^'\"\n]{1,300}+|[^\s'\"-][^\s'\"]*+))")
_PORTS = re.compile(r"[\d.:/-]+(?:tcp|udp)?")

_PEM_EDGE = re.compile(r"-----(?P<which>BEGIN|END)[ A-Z0-9]{0,40}?PRIVATE KEY(?: BLOCK)?-----")
_PEM_LINE_END = re.compile(r"\\{1,3}[rn](?:\\{1,3}[rn])*|[\r\n]+")
_PEM_LINE = re.compile(
    r"\s*(?:[^\n]{0,80}?[\s|:>'\"])?(?:[A-Za-z0-9+/=]{16,}+|(?:Proc-Type|DEK-Info|Version|Comment):[^\n]*)['\",+\\]*\s*"
)
_PEM_REST = re.compile(r"\s*(?:[^\n]{0,80}?[\s|:>'\"])?[A-Za-z0-9+/=]{4,}+['\",]*\s*")
_PEM_BLOCK = 32 * 1024
"""Longest distance between the lines BEGIN and END of a key."""
_PEM_CUT = 16 * 1024
"""How much before an END without a BEGIN, or after a BEGIN without an END, can belong to the key."""


def is_random(value: str, shortest: int = 16) -> bool:
    """Whether a value looks like a generated key: long, without spaces, of letters and digits, and not a path."""
    if len(value) < shortest or not re.fullmatch(r"[\w+/=.~%-]+", value) or not re.search(r"\d", value):
        return False
    if re.search(r"/[a-z_]{3,}|[a-z]{4,}/|^[./~]", value[:400]) or re.fullmatch(r"[\d.:eE+-]+", value):
        return False
    return bool(re.search(r"[A-Za-z]", value))


def is_scrambled(value: str) -> bool:
    """Whether upper case, lower case and digits alternate as in a random key, and not as in words or paths."""
    kinds = ["a" if one.islower() else "A" if one.isupper() else "0" if one.isdigit() else "+" for one in value[:256]]
    changes = sum(first != second for first, second in pairwise(kinds))
    return {"a", "A", "0"} <= set(kinds) and changes >= 0.34 * len(kinds)


def shape_spans(text: str) -> Iterator[Span]:
    """Yield (start, end) of every secret that its shape alone gives away."""
    yield from (found.span() for found in _KEYS.finditer(text))
    yield from (found.span() for found in _MIXED_KEYS.finditer(text) if re.search(r"\d", found[0]))
    yield from (found.span() for found in _AZURE_KEY.finditer(text) if is_scrambled(found[0]))
    if "-----" in text:
        yield from _pem_spans(text)
    if "://" in text or ":\\/" in text or "%2F" in text or "%2f" in text:
        yield from _url_spans(text)
    if "@" in text:
        yield from _values(_ORACLE, text)
        yield from (one.span("value") for one in _LOGIN_AT_HOST.finditer(text) if not _PROSE.fullmatch(one["value"]))
    if "$" in text:
        yield from (found.span() for found in _HASHES.finditer(text))
    yield from (one.span("value") for one in _SCHEME.finditer(text) if not _PROSE.fullmatch(one["value"][:200]))
    lower = text.lower()
    if "passw" in lower:
        yield from _values(_NETRC, text)
        yield from _values(_PASSWORD_LINE, text)
    if "hook" in lower:
        yield from _values(_HOOKS, text)
    if "identified" in lower:
        yield from _values(_SQL, text)
    if "private-lines" in lower:
        yield from _values(_PUTTY, text)
    if "wandb" in lower:
        yield from _values(_WANDB_LOGIN, text)
    if "aws" in lower or "akia" in lower or "asia" in lower:
        yield from (one.span("value") for one in _AWS_LINE.finditer(text) if is_scrambled(one["value"]))
    if ":" in text:
        yield from _values(_PGPASS, text)
    yield from _argument_spans(text)


def _values(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    return (found.span("value") for found in pattern.finditer(text))


def _url_spans(text: str) -> Iterator[Span]:
    """Yield the logins of URLs: `user:password`, a key alone, also URL-encoded."""
    for found in _URL.finditer(text):
        at, stop = found.end(), found.end() + _LOGIN_LENGTH
        if text.find("@", at, stop) < 0 and text.find("%40", at, stop) < 0:
            continue
        user, slashed = _USER.match(text, at), _SLASHED.match(text, at)
        if slashed is not None:
            yield at, slashed.end("value")
        elif user is not None and user["value"] and user["value"] not in ("git@", "hg@"):
            yield at, user.end("value") - 1
        elif user is not None and user["encoded"] and re.search("%3A|:", user["encoded"], re.IGNORECASE):
            yield user.span("encoded")


def _argument_spans(text: str) -> Iterator[Span]:
    """Yield the passwords of options that mean one only in some programs: `mysql -pX`, `curl -u user:X`."""
    for found in _PROGRAMS.finditer(text):
        value = _ARGUMENT.match(text, found.end())
        if value is None or _PORTS.fullmatch(value["value"][:100]):
            continue
        if found["user"] and ":" not in value["value"]:
            continue
        if found["wandb"] and not is_random(value["value"], 8):
            continue
        yield value.span("value")


def _pem_spans(text: str) -> Iterator[Span]:
    """Yield private keys, with line ends written as ``\\n`` too; of a key that is cut, what is left of it."""
    begin: re.Match[str] | None = None
    done = 0
    for edge in _PEM_EDGE.finditer(text):
        if edge["which"] == "BEGIN":
            if begin is not None:
                done = _after_begin(text, begin, edge.start())
                yield begin.start(), done
            begin = edge
        elif begin is not None and edge.start() - begin.end() <= _PEM_BLOCK:
            yield begin.start(), edge.end()
            begin, done = None, edge.end()
        else:
            yield _before_end(text, edge, done), edge.end()
            done = edge.end()
    if begin is not None:
        yield begin.start(), _after_begin(text, begin, len(text))


def _after_begin(text: str, begin: re.Match[str], stop: int) -> int:
    """Return where the base64 after a BEGIN without an END stops; its last line may be short."""
    stop = min(stop, begin.end() + _PEM_CUT)
    at = begin.end()
    while at < stop:
        found = _PEM_LINE_END.search(text, at, stop)
        end, following = (stop, stop) if found is None else found.span()
        line = text[at:end]
        if line.strip() and not _PEM_LINE.fullmatch(line):
            rest = _PEM_REST.match(line)
            return at if rest is None else at + rest.end()
        at = following
    return stop


def _before_end(text: str, edge: re.Match[str], done: int) -> int:
    """Return where the base64 before an END without a BEGIN starts; the line next to END may be short."""
    start = max(done, edge.start() - _PEM_CUT)
    block = text[start : edge.start()]
    ends = [0, *(found.end() for found in _PEM_LINE_END.finditer(block)), len(block)]
    first = edge.start()
    for begin, end in reversed(list(pairwise(ends))):
        line = _PEM_LINE_END.sub("", block[begin:end])
        is_last = start + end >= edge.start() - 2
        if line.strip() and not _PEM_LINE.fullmatch(line) and not (is_last and _PEM_REST.fullmatch(line)):
            break
        first = start + begin
    return first
