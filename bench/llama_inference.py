"""The peer of bench/inference.py: llama.cpp's prefill, decoding and scoring, one JSON line at the end.

    python bench/llama_inference.py MODEL PREFILL DECODE PROMPTS

Needs the wheel of python/check/requirements.txt. Scoring asks for the next token's probabilities
after each prompt, with llama.cpp's own reuse of the prompt prefix, one slot and several; the
fastest way counts.
"""

import json
import os
import resource
import secrets
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import xllamacpp as llama


def server(model, context, parallel, reuse):
    parameters = llama.CommonParams()
    parameters.model.path = model
    parameters.n_ctx = context * parallel
    parameters.n_parallel = parallel
    parameters.n_batch = 2048
    parameters.n_ubatch = 512
    parameters.cache_prompt = reuse
    parameters.cache_ram_mib = 0
    parameters.fit_params = False
    parameters.n_gpu_layers = 0
    parameters.cpuparams.n_threads = os.cpu_count()
    parameters.cpuparams_batch.n_threads = os.cpu_count()
    parameters.hostnames = ["127.0.0.1"]
    parameters.api_keys = [secrets.token_hex(16)]
    parameters.ui = False
    return llama.Server(parameters)


def complete(server, tokens, new, reuse, probabilities=0):
    body = {"prompt": tokens, "n_predict": new, "temperature": 0.0, "samplers": ["temperature"],
            "cache_prompt": reuse, "stream": False, "ignore_eos": True}
    if probabilities:
        body["n_probs"] = probabilities
    answer = server.handle_completions(body)
    if "error" in answer:
        raise SystemExit(f"llama.cpp answers {answer['error']}")
    return answer


def main():
    model, prefill, decode, prompts = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    vocabulary = 49152
    prompt = [(i * 7919 + 13) % vocabulary for i in range(prefill)]
    single = server(model, prefill + decode + 64, 1, False)
    complete(single, prompt[:64], 1, False)
    prefills, decodes = [], []
    for _ in range(4):
        began = time.perf_counter()
        complete(single, prompt, 1, False)
        prefills.append(prefill / (time.perf_counter() - began))
    for _ in range(3):
        began = time.perf_counter()
        complete(single, prompt[:16], 1, False)
        first = time.perf_counter() - began
        began = time.perf_counter()
        complete(single, prompt[:16], decode + 1, False)
        decodes.append(decode / (time.perf_counter() - began - first))
    listed = json.load(open(prompts))["prompts"]
    ways = {}
    for parallel in (1, 8):
        shared = server(model, max(map(len, listed)) + 8, parallel, True)
        began = time.perf_counter()
        if parallel == 1:
            for tokens in listed:
                complete(shared, tokens, 1, True, 10)
        else:
            with ThreadPoolExecutor(parallel) as pool:
                list(pool.map(lambda tokens: complete(shared, tokens, 1, True, 10), listed))
        ways[f"{parallel} slots"] = time.perf_counter() - began
    print(json.dumps({
        "prefill": statistics.median(prefills), "decode": statistics.median(decodes), "scoring": ways,
        "version": llama.__version__, "system": llama.get_system_info(),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
