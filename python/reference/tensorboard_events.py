"""Reference bytes of a TensorBoard event file, by tensorboardX.

    python3 -m venv venv && venv/bin/pip install -r python/reference/requirements-tensorboard.txt
    venv/bin/python python/reference/tensorboard_events.py crates/train/tests/fixtures

writes `tensorboard/events.bin` (three framed records: the version, and two events with scalars) and
`tensorboard/events.json`, what they say.

    venv/bin/python python/reference/tensorboard_events.py --read RUN/events.out.tfevents.*.foretune

prints the events of a file of ours as the library parses them, check sums checked.
"""

import argparse
import json
import struct
from pathlib import Path

from tensorboardX.crc32c import crc32c
from tensorboardX.proto import event_pb2, summary_pb2
from tensorboardX.record_writer import RecordWriter

EVENTS = [
    {"wall_time": 1700000000.25, "step": 1, "scalars": {"train/loss": 2.5, "train/learning_rate": 2e-3}},
    {"wall_time": 1700000001.5, "step": 300, "scalars": {"eval/decision_accuracy": 0.75}},
]


def write(out):
    out.mkdir(parents=True, exist_ok=True)
    path = out / "events.bin"
    path.unlink(missing_ok=True)
    writer = RecordWriter(str(path))
    first = event_pb2.Event(wall_time=EVENTS[0]["wall_time"], file_version="brain.Event:2")
    writer.write(first.SerializeToString())
    for event in EVENTS:
        values = [summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in event["scalars"].items()]
        message = event_pb2.Event(
            wall_time=event["wall_time"], step=event["step"], summary=summary_pb2.Summary(value=values))
        writer.write(message.SerializeToString())
    writer.flush()
    writer.close()
    (out / "events.json").write_text(json.dumps(EVENTS, indent=1) + "\n")


def masked(data):
    sum = crc32c(data)
    return ((sum >> 15 | sum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read(path):
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body = data[12:12 + length]
        assert struct.unpack("<I", data[8:12])[0] == masked(data[:8])
        assert struct.unpack("<I", data[12 + length:16 + length])[0] == masked(body)
        event = event_pb2.Event.FromString(body)
        print(event.step, event.file_version or {v.tag: v.simple_value for v in event.summary.value})
        data = data[16 + length:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--read", action="store_true")
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    if arguments.read:
        read(arguments.path)
    else:
        write(arguments.path / "tensorboard")


if __name__ == "__main__":
    main()
