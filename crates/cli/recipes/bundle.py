"""What every script of this recipe needs to know about the bundle.

As a program (standard library alone, except for `disk` without tokens):

    python3 recipe/bundle.py ordered FILE   training rows in the order of training, for a trainer that
                                            reads them from first to last
    python3 recipe/bundle.py disk DIR       the same as a `datasets` directory
    python3 recipe/bundle.py pairs FILE     preference pairs in the order of training
    python3 recipe/bundle.py accumulation N prints passes per step for N processes of one row each
    python3 recipe/bundle.py clock          notes that paid time begins
    python3 recipe/bundle.py cost           prints the cost so far, at PRICE_PER_HOUR
    python3 recipe/bundle.py base           checks a base model on this machine against the packed digest

`recipe/settings.json` holds the numbers. `recipe/*_order.txt` has one line per optimiser step: the
rows of the training files (or of the pairs) that the step learns from, counted from 0. The training
files are those of `row_files`, one after the other: `dataset/examples.jsonl`, or those of a bridge.
`recipe/tokens/`, where present, holds those rows as token ids made by foretune's own tokenizer and
chat template, with the mask and the loss weight of every token; then nothing is tokenised here.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OUT = Path(os.environ.get("OUT", ROOT / "out"))
SETTINGS = json.loads((HERE / "settings.json").read_text())
IGNORED = -100


def base():
    """Returns the base model's name or path: BASE of the environment before the packed one."""
    return os.environ.get("BASE") or SETTINGS["base"]["name"]


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def order(stage):
    """Returns the rows of every optimiser step."""
    path = HERE / f"{stage}_order.txt"
    return [[int(row) for row in line.split()] for line in path.read_text().splitlines()]


def texts_of(name):
    """Returns the rows of a part of the data set as they were written."""
    files = SETTINGS["row_files"] if name == "sft" else ["validation.jsonl"]
    return [row for file in files for row in lines(ROOT / "dataset" / file)]


def has_tokens():
    return (HERE / "tokens" / "sft.jsonl").is_file()


def tokenizer():
    from transformers import AutoTokenizer

    where = base()
    if where.endswith(".gguf"):
        path = Path(where)
        return AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
    return AutoTokenizer.from_pretrained(where, revision=SETTINGS["base"]["revision"])


def render(tokens_of, messages, generation):
    options = {}
    if SETTINGS["enable_thinking"] is not None:
        options["enable_thinking"] = SETTINGS["enable_thinking"]
    return tokens_of.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=generation, **options
    )


def encode(tokens_of, messages, name):
    """Returns a conversation's ids and how many of them are the prompt.

    The prompt is what the template writes before the answer; its ids have to begin those of the
    whole. What follows the end of the turn is left out. Nothing is cut: a row that does not fit is
    an error, as it is in foretune.
    """
    specials = [text for text in tokens_of.all_special_tokens if text]
    for message in messages:
        found = [text for text in specials if text in message["content"]]
        if found:
            sys.exit(f"{name}: the text contains the special token {found[0]!r}; pack with tokens instead")
    whole = render(tokens_of, messages, False)
    prompt = render(tokens_of, messages[:-1], True)
    if not whole.startswith(prompt):
        sys.exit(f"{name}: the chat template rewrites the prompt; pack with tokens instead of --text-only")
    ids = tokens_of(whole, add_special_tokens=False)["input_ids"]
    before = tokens_of(prompt, add_special_tokens=False)["input_ids"]
    if ids[: len(before)] != before:
        sys.exit(f"{name}: a token spans the end of the prompt; pack with tokens instead of --text-only")
    ends = [at for at in range(len(before), len(ids)) if ids[at] in set(tokens_of.all_special_ids)]
    if not ends:
        sys.exit(f"{name}: the chat template writes no end of turn")
    ids = ids[: ends[-1] + 1]
    if len(ids) > SETTINGS["sft"]["max_tokens"]:
        sys.exit(f"{name}: {len(ids)} tokens, max_tokens is {SETTINGS['sft']['max_tokens']}")
    return ids, len(before)


def decisions(tokens_of):
    """Returns the tokens all answers begin with, and those that tell the decisions apart; none for
    answers of which no word weighs more than another."""
    if not SETTINGS["decision_texts"]:
        return [], []
    texts = [tokens_of(text, add_special_tokens=False)["input_ids"] for text in SETTINGS["decision_texts"]]
    shortest = min(map(len, texts))
    lead = 0
    while lead < shortest and len({text[lead] for text in texts}) == 1:
        lead += 1
    tail = 0
    while tail < shortest - lead and len({text[-1 - tail] for text in texts}) == 1:
        tail += 1
    return texts[0][:lead], [text[lead : len(text) - tail] for text in texts]


def weigh(ids, prompt, lead, labels):
    """Returns the loss weight of every token: 0 in the prompt, more on the decision's own."""
    weights = [0.0] * prompt + [1.0] * (len(ids) - prompt)
    rest = ids[prompt + len(lead) :]
    label = next((label for label in labels if rest[: len(label)] == label), [])
    first = prompt + len(lead)
    for at in range(first, first + len(label)):
        weights[at] = SETTINGS["sft"]["decision_weight"]
    return weights


def examples(name, rows, tokens_of=None):
    """Returns {row: {"input_ids", "weights"}} of rows of a part of the data set.

    `weights` is 0 where a token carries no loss.
    """
    packed = HERE / "tokens" / f"{name}.jsonl"
    if packed.is_file():
        found = {}
        for row in lines(packed):
            weights = [0.0] * len(row["input_ids"])
            for at, on in enumerate(row["completion_mask"]):
                weights[at] = float(on)
            for at, weight in row["weights"]:
                weights[at] = weight
            found[row["row"]] = {"input_ids": row["input_ids"], "weights": weights, "label": row["label"]}
        return {row: found[row] for row in rows}
    tokens_of = tokens_of or tokenizer()
    lead, labels = decisions(tokens_of)
    texts = texts_of(name)
    found = {}
    for row in rows:
        ids, prompt = encode(tokens_of, texts[row]["messages"], texts[row]["id"])
        found[row] = {"input_ids": ids, "weights": weigh(ids, prompt, lead, labels)}
    return found


def pairs(tokens_of=None):
    """Returns the preference pairs as ids of prompt, preferred and other answer."""
    packed = HERE / "tokens" / "pairs.jsonl"
    if packed.is_file():
        return lines(packed)
    tokens_of = tokens_of or tokenizer()
    found = []
    for pair in lines(ROOT / "pairs.jsonl"):
        answers = {}
        for side in ("chosen", "rejected"):
            turns = pair["prompt"] + [{"role": "assistant", "content": pair[side]}]
            answers[side] = encode(tokens_of, turns, pair["id"])
        prompt = answers["chosen"][1]
        found.append(
            {
                "id": pair["id"],
                "prompt_ids": answers["chosen"][0][:prompt],
                "chosen_ids": answers["chosen"][0][prompt:],
                "rejected_ids": answers["rejected"][0][prompt:],
            }
        )
    return found


def in_order():
    """Returns training rows one after the other: ids, mask and labels, or the messages."""
    wanted = [row for step in order("sft") for row in step]
    if has_tokens():
        rows = examples("sft", sorted(set(wanted)))
        return [
            {
                "input_ids": rows[row]["input_ids"],
                "attention_mask": [1] * len(rows[row]["input_ids"]),
                "labels": [
                    token if weight > 0 else IGNORED
                    for token, weight in zip(rows[row]["input_ids"], rows[row]["weights"])
                ],
            }
            for row in wanted
        ]
    texts = texts_of("sft")
    return [{"messages": texts[row]["messages"]} for row in wanted]


def write_lines(path, rows):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with open(partial, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    os.replace(partial, path)


def clock(event):
    OUT.mkdir(parents=True, exist_ok=True)
    with open(OUT / "clock.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"event": event, "time": time.time()}) + "\n")


def paid_seconds():
    """Returns the seconds of every start up to the last sign of life after it."""
    path = OUT / "clock.jsonl"
    total, start, last = 0.0, None, None
    for row in lines(path) if path.is_file() else []:
        if row["event"] == "start":
            total += (last - start) if start is not None else 0.0
            start = row["time"]
        last = row["time"]
    return total + ((last - start) if start is not None else 0.0)


def cost_so_far():
    """Notes a sign of life and returns hours and, if a price is known, money."""
    clock("alive")
    hours = paid_seconds() / 3600
    price = os.environ.get("PRICE_PER_HOUR")
    return hours, float(price) * hours if price else None


def spoken_cost():
    hours, money = cost_so_far()
    if money is None:
        return f"{hours:.2f} h so far (set PRICE_PER_HOUR for the cost)"
    return f"{hours:.2f} h so far, cost {money:.2f}"


def base_sha256(path):
    """Returns the digest foretune gives a base model: of the file, or of the lines
    `<sha256>  <name>` of a directory's weights, configuration and tokenizer."""
    path = Path(path)

    def digest(file):
        sha = hashlib.sha256()
        with open(file, "rb") as stream:
            while chunk := stream.read(1 << 20):
                sha.update(chunk)
        return sha.hexdigest()

    if path.is_file():
        return digest(path)
    names = [file.name for file in path.glob("*.safetensors")]
    names += [name for name in ("config.json", "tokenizer.json", "tokenizer_config.json") if (path / name).exists()]
    text = "".join(f"{digest(path / name)}  {name}\n" for name in sorted(names))
    return hashlib.sha256(text.encode()).hexdigest()


def check_base():
    packed, where = SETTINGS["base"]["sha256"], Path(base())
    if not where.exists():
        print(f"base model {base()}: not on this machine, it will be downloaded")
    elif packed is None:
        print(f"base model {base()}: packed without its digest, not compared")
    elif base_sha256(where) == packed:
        print(f"base model {base()}: the one that was packed for")
    else:
        print(f"base model {base()}: NOT the files that were packed for (fine if only their form differs)")


def main():
    what, *rest = sys.argv[1:] or ["help"]
    if what == "ordered":
        write_lines(rest[0], in_order())
    elif what == "disk":
        from datasets import Dataset

        Dataset.from_list(in_order()).save_to_disk(rest[0])
    elif what == "pairs":
        texts = lines(ROOT / "pairs.jsonl")
        rows = [texts[row] for step in order("dpo") for row in step]
        answer = lambda text: {"role": "assistant", "content": text}
        write_lines(
            rest[0],
            [
                {"messages": row["prompt"], "chosen": answer(row["chosen"]), "rejected": answer(row["rejected"])}
                for row in rows
            ],
        )
    elif what == "accumulation":
        batch, processes = SETTINGS["sft"]["batch_size"], int(rest[0])
        if batch % processes:
            sys.exit(f"a step of {batch} rows cannot be divided among {processes} processes")
        print(batch // processes)
    elif what == "clock":
        clock("start")
    elif what == "cost":
        print(spoken_cost())
    elif what == "base":
        check_base()
    else:
        print(__doc__)


if __name__ == "__main__":
    main()
