"""Works out every certainty calculation again from its question's text alone.

    python3 python/interop/certainty.py forex_integrated/real_certainty_calculations.jsonl

Knows nothing of the program that wrote the file: it reads the numbers of the question, follows the
rules that the question states, and compares with the numbers of the answer. A difference of one in
the last digit shown is a tie of rounding and is counted apart. Standard library only.
"""

import json
import re
import sys

PERCENT = r"(-?[0-9.]+)%"


def numbers(pattern, text):
    found = re.search(pattern, text)
    if not found:
        raise ValueError(f"no `{pattern}` in: {text}")
    return [float(group) for group in found.groups()]


def work_out(question, said):
    """Returns the numbers of the answer; each step goes on from the number that the step before it
    stated, so that a tie of rounding is one tie."""
    cases, wins, gain, loss = numbers(
        r"past cases: (\d+), won (\d+), mean gain ([0-9.]+)bp, mean loss ([0-9.]+)bp", question
    )
    (bound,) = numbers(rf"Lower bound of the win rate: {PERCENT}", question)
    (confidence,) = numbers(rf"Confidence of the ensemble: {PERCENT}", question)
    agree, against = numbers(r"leaning: (\d+) with the signal, (\d+) against", question)
    a, b, c = numbers(r"Raw certainty = ([0-9.]+) x confidence \+ ([0-9.]+) x win rate \+ ([0-9.]+)", question)
    (certainty,) = numbers(rf"history maps it to {PERCENT}", question)
    (cap,) = numbers(rf"at most {PERCENT}", question)
    rate = round(100 * (wins + 0.5) / (cases + 1), 1)
    payoff = max(round(gain / loss, 2), 0.01)
    stated_payoff = said["payoff"] if abs(said["payoff"] - payoff) < 0.015 else payoff
    even = round(100 / (1 + stated_payoff), 1)
    found = {"rate": rate, "payoff": payoff, "even": even, "certainty": certainty}
    size = 0.0
    if bound > even:
        kelly = round(bound - (100 - bound) / stated_payoff, 1)
        found["kelly"] = kelly
        size = round(min(max(kelly / 2, 0.0), cap), 1)
    found["size"] = size
    leaning = agree + against
    agreement = round(100 * agree / leaning, 1) if leaning else 50.0
    found["agreement"] = agreement
    found["raw"] = round(a * confidence + b * rate + c * agreement, 1)
    return found


def stated(answer):
    found = {}
    (found["rate"],) = numbers(rf"Win rate .* = {PERCENT}", answer)
    (found["payoff"],) = numbers(r"Payoff [0-9.]+bp / [0-9.]+bp = ([0-9.]+);", answer)
    (found["even"],) = numbers(rf"break-even 1 / \(1 \+ [0-9.]+\) = {PERCENT}", answer)
    kelly = re.search(rf"Kelly at the bound .* = {PERCENT}; half", answer)
    if kelly:
        found["kelly"] = float(kelly.group(1))
    (found["agreement"],) = numbers(rf"[Aa]greement (?:\d+ / \d+ = )?{PERCENT}", answer)
    (found["raw"],) = numbers(rf"Raw certainty .* = {PERCENT}", answer)
    found["certainty"], found["size"] = numbers(rf"Certainty {PERCENT}, size {PERCENT}\.$", answer)
    return found


def main():
    checked = ties = wrong = values = 0
    for line_number, line in enumerate(open(sys.argv[1], encoding="utf-8"), 1):
        example = json.loads(line)
        question, answer = (message["content"] for message in example["messages"])
        found = stated(answer)
        expected = work_out(question, found)
        checked += 1
        if expected.keys() != found.keys():
            wrong += 1
            print(f"line {line_number}: {sorted(found)} stated, {sorted(expected)} expected")
            continue
        for name, value in expected.items():
            values += 1
            step = 0.01 if name == "payoff" else 0.1
            off = abs(value - found[name])
            if off > 1.5 * step:
                wrong += 1
                print(f"line {line_number}: {name} is {found[name]}, expected {value}")
            elif off > 0.5 * step:
                ties += 1
    print(json.dumps({"calculations": checked, "values": values, "ties": ties, "wrong": wrong}))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
