"""Texts with made-up secrets, and texts that only look as if they had some.

The values are drawn at run time, so that no file of this project holds a text in the shape of a key.
"""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Iterator
from urllib.parse import quote

_RANDOM = random.Random(23)
_LETTERS = string.ascii_letters + string.digits


def draw(length: int, letters: str = _LETTERS) -> str:
    """Return random letters that contain a digit, an upper and a lower case letter where ``letters`` has them."""
    while True:
        text = "".join(_RANDOM.choices(letters, k=length))
        kinds = (string.digits, string.ascii_uppercase, string.ascii_lowercase)
        if all(set(text) & set(kind) for kind in kinds if len(set(kind) & set(letters)) > 6):
            return text


def hex_digits(length: int) -> str:
    """Return random lower-case hexadecimal digits."""
    return "".join(_RANDOM.choices("0123456789abcdef", k=length))


def pem_lines(lines: int = 6) -> list[str]:
    """Return the base64 lines of a private key; the last one is short."""
    return [draw(64, _LETTERS + "+/") for _ in range(lines)] + [draw(22) + "=="]


def _armour(kind: str, edge: str) -> str:
    return f"{'-' * 5}{edge} {kind}PRIVATE KEY{'-' * 5}"


def planted() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield (name, text, secrets in it that must not be shown)."""
    yield from _of_services()
    yield from _of_names()
    yield from _of_commands()
    yield from _of_addresses()
    yield from _of_pem()


def _of_services() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    base64_json = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "n": draw(8)}).encode()).decode().rstrip("=")
    keys = {
        "wandb": f"wandb_v1_{draw(40)}",
        "hugging face": f"hf_{draw(34)}",
        "github": f"ghp_{draw(36)}",
        "github fine-grained": f"github_pat_{draw(22)}_{draw(59)}",
        "gitlab": f"glpat-{draw(20)}",
        "aws id": f"AKIA{draw(16, string.ascii_uppercase + string.digits)}",
        "aws session id": f"ASIA{draw(16, string.ascii_uppercase + string.digits)}",
        "google": f"AIza{draw(35)}",
        "google oauth": f"ya29.{draw(60)}",
        "slack": f"xoxb-{draw(12, string.digits)}-{draw(24)}",
        "openai": f"sk-proj-{draw(48)}",
        "anthropic": f"sk-ant-api03-{draw(60)}",
        "stripe": f"sk_live_{draw(24)}",
        "nvidia": f"nvapi-{draw(60)}",
        "npm": f"npm_{draw(36)}",
        "pypi": f"pypi-AgEIcHlwaS5vcmc{draw(60)}",
        "docker": f"dckr_pat_{draw(27)}",
        "replicate": f"r8_{draw(37)}",
        "jwt": f"{base64_json}.{draw(40)}.{draw(43)}",
        "jwt, cut": f"{base64_json}.{draw(20)}",
        "sendgrid": f"SG.{draw(22)}.{draw(43)}",
        "azure storage": f"{draw(86, _LETTERS + '+/')}==",
        "bcrypt": f"$2b$12${draw(53)}",
    }
    for name, key in keys.items():
        for text in (f"got {key}, gave up", f"Error(403, '{key}')", f"x_{key}", f'{{"a": "{key}"}}', key):
            yield name, text, (key,)
    aws = draw(40, _LETTERS + "+/")
    yield "aws pair", f"{keys['aws id']} {aws}", (keys["aws id"], aws)
    hook = f"T{draw(8)}/B{draw(8)}/{draw(24)}"
    yield "slack webhook", f"POST https://hooks.slack.com/services/{hook} 404", (hook,)
    yield "wandb login", f"wandb: logged in with key {(key := hex_digits(40))}", (key,)


def _of_names() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    names = (
        *("WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GITHUB_TOKEN", "DB_PASSWORD"),
        *("PGPASSWORD", "MYSQL_PWD", "AZURE_CLIENT_SECRET", "AZURE_STORAGE_KEY", "COMET_API_KEY", "NEPTUNE_API_TOKEN"),
        *(
            "KAGGLE_KEY",
            "REDISCLI_AUTH",
            "SMTP_PASS",
            "GH_PAT",
            "apiKey",
            "accessToken",
            "client_secret",
            "db.password",
        ),
        *("x-api-key", "private-token", "signing_key", "MLFLOW_TRACKING_PASSWORD", "secret", "passphrase"),
    )
    for name in names:
        key = hex_digits(32) if name.isupper() else draw(24)
        for text in (
            f"{name}={key} python x.py",
            f"export {name}='{key}'",
            f"{name}: {key}",
            f"  {name} = {key}  # mine",
            f'{{"a": 1, "{name}": "{key}", "b": 2}}',
            f"environ({{'HOME': '/folder/a', '{name}': '{key}'}})",
            f"{{b'{name}': b'{key}'}}",
            json.dumps(json.dumps({name: key})),
            f'os.environ["{name}"] = "{key}"',
            f"?{name}={key}&step=3",
            f"[('HOME', '/folder/a'), ('{name}', '{key}')]",
            f"<{name}>{key}</{name}>",
            f"Traceback\\n{name}={key}\\nend",
        ):
            yield name, text, (key,)
    words = "correct horse battery staple"
    for text in (f"password: {words}", f'{{"password": "{words}"}}', f"--password '{words}'", f"passwd='{words}'"):
        yield "several words", text, (words, "horse battery", "staple")
    key = draw(24)
    yield "quote in a value", f'{{"token": "a\\"{key}"}}', (key,)
    yield "no closing quote", f'{{"token": "{key} and more', (key,)
    yield "block of YAML", f"secret: |\n  {key}\n  {key}\nnext: 1\n", (key,)
    yield "list", f"api_keys: ['{key}', 'b{key}']", (key,)
    yield "columns", f"WANDB_API_KEY      {key}\n", (key,)
    yield "docker", json.dumps({"auths": {"ghcr.io": {"auth": key}}}), (key,)
    yield "azure", f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={draw(20)}{key}==;EndpointSuffix=b", (key,)
    yield "azure signature", f"https://a.blob.core.windows.net/c?sv=2024&sig={key}{key}%3D&se=1", (key,)
    yield "header", f"> Authorization: Bearer {key}", (key,)
    yield "header in Python", f"headers={{'Authorization': 'Bearer {key}'}}", (key,)
    yield "basic", f"authorization failed for Basic {key}==", (key,)
    yield "cookie", f"Cookie: session={key}; other=b{key}", (key,)
    yield "set cookie", f"Set-Cookie: sid={key}; Path=/", (key,)
    yield "netrc", f"machine api.wandb.ai login user password {key}", (key,)
    yield "netrc in lines", f"machine a.example\n  login user\n  password {key}\n", (key,)
    yield "pgpass", f"db.example:5432:worlds:user:{key}\n", (key,)
    account = {"type": "service_account", "private_key_id": hex_digits(40), "private_key": "\n".join(_key_block())}
    for text in (json.dumps(account), json.dumps(account, indent=2), repr(account)):
        yield "service account", text, (account["private_key_id"], account["private_key"].split("\n")[2])


def _of_commands() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    key = draw(20)
    for text in (
        f"python x.py --api-key {key}",
        f"python x.py --api_key={key} --steps 3",
        f"python x.py --password='{key}'",
        f'curl -H "Authorization: token {key}" https://a.example',
        f"curl -H 'X-Api-Key: {key}' https://a.example",
        f"curl -u user:{key} https://a.example",
        f"wget --password {key} https://a.example",
        f"sshpass -p {key} ssh host",
        f"mysql -h db -u root -p{key} worlds",
        f"docker login -u me -p {key} ghcr.io",
        f"redis-cli -h a -a {key} ping",
        f"wandb login --relogin {key}",
        f"aws configure set aws_secret_access_key {key}",
        f"['python', 'x.py', '--token', '{key}']",
        f"docker run -e WANDB_API_KEY={key} image",
        f"huggingface-cli login --token {key}",
        f"zip -P {key} a.zip a",
    ):
        yield text.split(key)[0], text, (key,)


def _of_addresses() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    key = draw(18)
    for scheme in ("https", "postgresql+psycopg2", "redis", "mongodb+srv", "amqp"):
        yield scheme, f"cannot reach {scheme}://user:{key}@db.example:5432/a", (key,)
    yield "no user", f"redis://:{key}@cache:6379/0", (key,)
    yield "key alone", f"git clone https://{key}@github.com/a/b", (key,)
    yield "slash and at", f"postgres://user:{key}/x@{key}@db/a", (key,)
    yield "escaped", f'"https:\\/\\/user:{key}@host\\/a"', (key,)
    yield "encoded", f"next={quote(f'https://user:{key}@host/a', safe='')}", (key,)
    yield "no scheme", f"user:{key}@db.example.com", (key,)


def _key_block(kind: str = "") -> list[str]:
    return [_armour(kind, "BEGIN"), *pem_lines(), _armour(kind, "END"), ""]


def _of_pem() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for kind in ("", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "):
        lines = _key_block(kind)
        body = lines[1:-2]
        secrets = (body[0], body[3], body[-1])
        yield f"{kind}PEM", "\n".join(lines), secrets
        yield f"{kind}PEM, escaped", "\\n".join(lines), secrets
        yield f"{kind}PEM, escaped twice", "\\\\n".join(lines), secrets
        yield f"{kind}PEM, indented", "\n".join(f"    [rank0]: {line}" for line in lines), secrets
        yield f"{kind}PEM, end cut", "\n".join(["x", *lines[:-2]]), secrets
        yield f"{kind}PEM, in a line, cut", "\\n".join(lines[:-2]), secrets
        yield f"{kind}PEM, start cut", "\n".join(lines[2:]), (body[2], body[-1])
        yield f"{kind}PEM, cut in a word", "\n".join([*lines[:3], lines[3][:30]]), (body[0], lines[3][:30])


def harmless() -> Iterator[str]:
    """Yield texts that a report needs and that contain no secret."""
    sha, digest = hex_digits(40), hex_digits(64)
    picture = base64.b64encode(_RANDOM.randbytes(600)).decode()
    yield from (
        f"commit {sha}",
        f"HEAD is {sha}, the run began at commit {sha[:12]}",
        f"sha256={digest}",
        f'{{"binding": {{"checkpoints": {{"dynamics": "{digest}"}}, "clips": "{digest}"}}, "chain": "{digest}"}}',
        f"{digest}  results/smoke_2026/dynamics/checkpoints/dynamics_step_200/model.pt",
        f"sha512-{base64.b64encode(_RANDOM.randbytes(64)).decode()}",
        "wandb: run smoke-3 finished at commit " + sha,
        f"data:image/png;base64,{picture}",
        "6fa459ea-ee8a-3ca4-894e-db77e160355e",
        "results/smoke_20261130/video_tokenizer/checkpoints/video_tokenizer_step_1200",
        "python scripts/train_video_tokenizer.py --config configs/training.yaml num_tokens=64 token_choice=likeliest",
        "num_tokens: 64, mask_token: <mask>, next token: 17, token: 5, tokens=1024",
        "token_choice=sampled latent_dim=5 key=up --key-interval 5 cache_key=" + digest,
        "video_tokenizer_path=results/a/video_tokenizer/checkpoints/video_tokenizer_step_9",
        "tensor([[ 0.1234, -1.2345e-05], [1.0000, 2.5000]], device='cuda:0')",
        "MSE 0.0123, copy-last 0.0456, skill 0.73; loss=1.25e-3 at step 1200",
        'Missing key(s) in state_dict: "transformer.blocks.0.attn.to_q.weight"',
        '  File "/x/tinyworlds/models/tokenizer.py", line 31, in forward\n    token = self.embed(tokens[:, 0])',
        "    token=child.token,\n    auth = make_auth(user)\n",
        "RuntimeError: CUDA error: device-side assert triggered",
        "ValueError: unexpected token: expected a number",
        "S4 PASS: 3 of 3; PASS: the gate; first_pass=12 forward_pass: 3 ms",
        "authorization: required, the session: closed, Basic functionality, bearer certificate",
        "git@github.com:org/repo.git and ssh://git@github.com/org/repo and mailto:someone@example.com",
        "https://example.com/a@v1/b and git+https://github.com/a/b@" + sha,
        "http://localhost:8080/@scope/pkg and 10.0.0.1:29500",
        "hf_transfer is off; sk-learn; global-average-pooling-of-tokens; glob-pattern-of-checkpoints-dir",
        "2026-11-30T08:15:30.123456Z elapsed=00:12:30 eta: 5 h 02 min",
        "GPU-5d9a3c1e-1111-2222-3333-444455556666 NVIDIA H200",
        "the options --max-mse 0.03 --nproc-per-node 2 and -p no:cacheprovider",
        "docker run -p 8080:80 image; mkdir -p results/a",
        'chunk 3 of dynamics: {"learning_rate": 0.0005, "key_frames": 4, "secrets_removed": 0}',
        "PWD=/folder/a/project TOKENIZERS_PARALLELISM=false SSH_AUTH_SOCK=/run/user/1000/ssh",
        "HF_TOKEN_PATH=/folder/a/.cache/token GOOGLE_APPLICATION_CREDENTIALS_FILE=/etc/a.json",
    )
