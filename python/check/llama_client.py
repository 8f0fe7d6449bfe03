"""Greedy answers of llama.cpp with per-token log-probabilities, for `foretune check`.

    python llama_client.py request.json response.json

Needs the wheel named in requirements.txt and nothing else. The request:

    {"model": "base.gguf", "adapter": "adapter.gguf" or null, "scale": 1.0,
     "prompts": [{"id": "a", "tokens": [1, 2, 3]}], "max_tokens": 60, "threads": 2,
     "n_probs": 10, "stop_tokens": [2], "cache_type": "f16" or "f32",
     "progress": "progress.txt" or null}

`scale`, `max_tokens`, `threads`, `n_probs`, `stop_tokens`, `cache_type` and `progress`
may be left out. A prompt may have a `max_tokens` and an `n_probs` of its own. The file `progress` grows by one line with every answer. `cache_type` is the precision of cached keys and values: f16 is llama.cpp's default,
f32 (without its fused attention) is as exact as it gets. The response, written to a
temporary name and renamed:

    {"library": ..., "version": ..., "system": ..., "settings": {...},
     "load_seconds": ..., "seconds": ...,
     "results": [{"id": "a", "prompt_tokens": 3, "tokens": [...], "text": "...",
                  "finish": "end" | "stop_token" | "length", "held_back": 0,
                  "positions": [{"id": 5, "logprob": -0.1,
                                 "top": [{"id": 5, "logprob": -0.1}, ...]}, ...]}]}

`tokens` and `positions` include the token that ended the answer; `text` does not. llama.cpp does
not tell tokens that end inside a character: from the first such character on `held_back` tokens are
missing from both lists, not from the text.
`end` means that llama.cpp itself counts the last token as end of generation.
Log-probabilities are the log-softmax of the raw logits over the whole vocabulary.
On any failure the response is {"error": "...", "log": [...]}, with llama.cpp's own
last complaints, and the exit code is 1 (2 when the command line is wrong or the
response cannot be written, 130 when interrupted).

Token ids go in as they are: nothing is tokenised, no BOS is added. The prompt cache
is off and every answer is checked to have been computed from an empty cache, so no
adapter sees another's keys. llama.cpp runs in a child process, so that even an abort
inside it ends in a readable error; the child ends when the parent does.
"""

import json
import math
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time

LIBRARY = "xllamacpp"
DEFAULTS = {
    "adapter": None, "scale": 1.0, "max_tokens": 60, "threads": 2, "n_probs": 10,
    "stop_tokens": [], "cache_type": "f16", "progress": None,
}
# llama.cpp reports float32; a greedy choice may trail the top entry by rounding only.
GREEDY_SLACK = 1e-5
LOG_LINES = 8
INTERRUPTED = 130


class CheckError(Exception):
    """A failure with a message for the reader of the response."""


class Refused(CheckError):
    """A load that failed; llama.cpp gives its reason in the log only."""


def read_request(path):
    try:
        with open(path, encoding="utf-8") as file:
            given = json.load(file)
    except (OSError, ValueError) as error:
        raise CheckError(f"cannot read the request `{path}`: {error}") from error
    if not isinstance(given, dict):
        raise CheckError(f"the request `{path}` is not a JSON object")
    unknown = sorted(given.keys() - DEFAULTS.keys() - {"model", "prompts"})
    if unknown:
        raise CheckError(f"unknown field `{unknown[0]}` in the request")
    request = DEFAULTS | given
    checks = {
        "model": isinstance(request.get("model"), str),
        "adapter": request["adapter"] is None or isinstance(request["adapter"], str),
        "scale": is_number(request["scale"]),
        "prompts": isinstance(request.get("prompts"), list) and len(request["prompts"]) > 0,
        "max_tokens": is_count(request["max_tokens"]),
        "threads": is_count(request["threads"]),
        "n_probs": is_count(request["n_probs"]),
        "stop_tokens": is_token_list(request["stop_tokens"]),
        "cache_type": request["cache_type"] in ("f16", "f32"),
        "progress": request["progress"] is None or isinstance(request["progress"], str),
    }
    for name, good in checks.items():
        if not good:
            raise CheckError(f"field `{name}` of the request is missing or of the wrong kind")
    for index, prompt in enumerate(request["prompts"]):
        good = isinstance(prompt, dict) and "id" in prompt and is_token_list(prompt.get("tokens"))
        if not good or not prompt["tokens"]:
            raise CheckError(f"prompt {index} needs an `id` and a non-empty list `tokens` of token ids")
        for name in ("max_tokens", "n_probs"):
            if not is_count(prompt.setdefault(name, request[name])):
                raise CheckError(f"field `{name}` of prompt {index} is of the wrong kind")
    for name in ("model", "adapter"):
        if request[name] is not None and not os.path.isfile(request[name]):
            raise CheckError(f"no such {name} file: `{request[name]}`")
    return request


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def is_token_list(value):
    return isinstance(value, list) and all(
        isinstance(t, int) and not isinstance(t, bool) and t >= 0 for t in value)


def start_server(llama, request):
    """Loads base and adapter for one conversation at a time, without any prompt cache."""
    longest = max(len(prompt["tokens"]) + prompt["max_tokens"] for prompt in request["prompts"])
    parameters = llama.CommonParams()
    parameters.model.path = request["model"]
    if request["adapter"] is not None:
        parameters.lora_adapters = [llama.CommonAdapterLoraInfo(request["adapter"], request["scale"])]
    parameters.n_ctx = -(-(longest + 8) // 256) * 256
    parameters.n_parallel = 1
    parameters.cache_prompt = False
    parameters.cache_ram_mib = 0
    parameters.cache_idle_slots = False
    parameters.fit_params = False
    parameters.n_gpu_layers = 0
    parameters.cpuparams.n_threads = request["threads"]
    parameters.cpuparams_batch.n_threads = request["threads"]
    if request["cache_type"] == "f32":
        parameters.cache_type_k = llama.ggml_type.GGML_TYPE_F32
        parameters.cache_type_v = llama.ggml_type.GGML_TYPE_F32
        parameters.flash_attn_type = llama.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    # The library opens a local port that nothing here uses: keep strangers out of it.
    parameters.hostnames = ["127.0.0.1"]
    parameters.api_keys = [secrets.token_hex(16)]
    parameters.ui = False
    parameters.endpoint_slots = False
    try:
        return llama.Server(parameters)
    except RuntimeError as error:
        what = "the base model or the adapter" if request["adapter"] else "the base model"
        raise Refused(f"llama.cpp refuses {what}") from error


def complete(server, request, prompt):
    body = {
        "prompt": prompt["tokens"], "n_predict": prompt["max_tokens"],
        "temperature": 0.0, "samplers": ["temperature"],
        "n_probs": prompt["n_probs"], "post_sampling_probs": False,
        "cache_prompt": False, "stream": False,
    }
    if request["adapter"] is not None:
        body["lora"] = [{"id": 0, "scale": request["scale"]}]
    answer = server.handle_completions(body)
    name = f"prompt `{prompt['id']}`"
    if not isinstance(answer, dict) or "error" in answer:
        error = answer.get("error") if isinstance(answer, dict) else answer
        raise CheckError(f"{name}: llama.cpp answers {error.get('message', error) if isinstance(error, dict) else error}")
    usage = answer["usage"]
    if usage["prompt_tokens"] != len(prompt["tokens"]):
        raise CheckError(f"{name}: llama.cpp saw {usage['prompt_tokens']} tokens instead of {len(prompt['tokens'])}")
    if usage.get("prompt_tokens_details", {}).get("cached_tokens", 0) != 0:
        raise CheckError(f"{name}: llama.cpp reused cached tokens although the prompt cache is off")
    choice = answer["choices"][0]
    content = (choice.get("logprobs") or {}).get("content") or []
    lost = usage["completion_tokens"] - len(content)
    if lost < 0:
        raise CheckError(f"{name}: {len(content)} log-probabilities for {usage['completion_tokens']} tokens")
    told = content[:whole_characters(content)] if lost else content
    held_back = usage["completion_tokens"] - len(told)
    answer = collect(request, prompt, told, choice["finish_reason"]) | {"held_back": held_back}
    return answer | {"text": choice["text"]} if held_back else answer


def whole_characters(content):
    """How many tokens are told before the first that continues a character.

    llama.cpp tells no token that ends inside a character, only the one that completes it.
    """
    for index, token in enumerate(content):
        if token["bytes"] and 0x80 <= token["bytes"][0] <= 0xBF:
            return index
    return len(content)


def collect(request, prompt, content, reason):
    positions, text = [], b""
    finish = "length" if reason == "length" else "end"
    for index, token in enumerate(content):
        top = [{"id": t["id"], "logprob": t["logprob"]} for t in token["top_logprobs"]]
        if not top or token["logprob"] < top[0]["logprob"] - GREEDY_SLACK:
            raise CheckError(f"prompt `{prompt['id']}`: token {index} is not the most probable one")
        positions.append({"id": token["id"], "logprob": token["logprob"], "top": top})
        if token["id"] in request["stop_tokens"]:
            finish = "stop_token"
            break
        if finish == "length" or index + 1 < len(content):
            text += bytes(token["bytes"])
    return {
        "id": prompt["id"], "prompt_tokens": len(prompt["tokens"]),
        "tokens": [p["id"] for p in positions], "text": text.decode("utf-8", errors="replace"),
        "finish": finish, "positions": positions,
    }


def run(request):
    try:
        import xllamacpp as llama
    except ImportError as error:
        raise CheckError(f"cannot import `{LIBRARY}`: {error}") from error
    started = time.monotonic()
    server = start_server(llama, request)
    loaded = time.monotonic()
    results = []
    for prompt in request["prompts"]:
        results.append(complete(server, request, prompt))
        if request["progress"] is not None:
            with open(request["progress"], "a", encoding="utf-8") as file:
                file.write(f"{len(results)}\n")
    settings = {name: request[name] for name in DEFAULTS if name not in ("adapter", "progress")}
    return {
        "library": LIBRARY, "version": llama.__version__, "system": llama.get_system_info(),
        "settings": settings, "load_seconds": round(loaded - started, 3),
        "seconds": round(time.monotonic() - loaded, 3), "results": results,
    }


def write_response(path, response):
    folder = os.path.dirname(os.path.abspath(path))
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".llama-client-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(response, file, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def child(request_path, response_path):
    """Does the work; ends at once when the parent's pipe closes."""

    def follow_parent():
        sys.stdin.buffer.read()
        os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()
    try:
        response = run(read_request(request_path))
    except CheckError as error:
        response = {"error": str(error), "refused": isinstance(error, Refused)}
    except Exception as error:  # anything the library throws must still be readable
        response = {"error": f"{type(error).__name__}: {error}"}
    write_response(response_path, response)
    sys.stdout.flush()
    sys.stderr.flush()
    # Skip the library's teardown: the answer is on disk.
    os._exit(1 if "error" in response else 0)


def complaints(log):
    """llama.cpp's error lines (`time E place: text`), else the last lines of the log."""
    log.seek(0)
    lines = [line for line in log.read().decode("utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line.split(" E ", 1)[1].strip() for line in lines if " E " in line]
    return (errors or lines)[-LOG_LINES:]


def parent(request_path, response_path):
    # Idle OpenMP threads would otherwise spin and starve whatever shares the cores.
    environment = {"OMP_WAIT_POLICY": "passive"} | os.environ
    with tempfile.TemporaryDirectory(prefix="llama-client-") as scratch, tempfile.TemporaryFile() as log:
        scratch_response = os.path.join(scratch, "response.json")
        worker = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "--child", request_path, scratch_response],
            stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment)
        try:
            code = worker.wait()
        except KeyboardInterrupt:
            worker.kill()
            return INTERRUPTED
        try:
            with open(scratch_response, encoding="utf-8") as file:
                response = json.load(file)
        except (OSError, ValueError):
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            response = {"error": f"llama.cpp ended with {how} before it answered"}
        if "error" in response:
            response["log"] = complaints(log)
            if response.pop("refused", False) and response["log"]:
                response["error"] += ": " + response["log"][0]
    try:
        write_response(response_path, response)
    except OSError as error:
        print(f"cannot write the response `{response_path}`: {error}", file=sys.stderr)
        return 2
    return 1 if "error" in response else 0


def main(arguments):
    if len(arguments) == 3 and arguments[0] == "--child":
        return child(arguments[1], arguments[2])
    if len(arguments) != 2:
        print("usage: llama_client.py request.json response.json", file=sys.stderr)
        return 2
    return parent(arguments[0], arguments[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
