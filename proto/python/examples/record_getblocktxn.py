#!/usr/bin/env python3
"""Records which transactions of compact blocks were missing: one row for each getblocktxn
message (BIP152) that a node sent or received, with what came of it.

Does what `peer-observer record-getblocktxn` does, to show how a tool is written in
another language. docs/record-getblocktxn.md explains the rows.
"""

import argparse
import csv
import json
import os
import signal
import sys
import time

# Works from a checkout as well as with the package installed.
sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

COLUMNS = [
    "time", "node", "direction", "peer_id", "address", "connection_type", "block", "indexes", "requested", "outcome",
    "delay_ns", "answer_bytes", "transactions",
]

# What one request keeps, and all open ones together: peers choose how many there are.
MAX_INDEXES = 1 << 16
MAX_OPEN = 4096
MAX_OPEN_INDEXES = 1 << 18
MAX_TEXT = 255


def event_time(event):
    """The best time that an event has, in UNIX nanoseconds."""
    return event.kernel_time_ns or event.receive_time_ns or event.timestamp * 1_000_000


def time_text(at):
    seconds, nanoseconds = divmod(at, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09d}Z"


def connection_type(meta):
    """The type as text; events of other producers may have conn_type alone."""
    from peerobserver.v1 import primitives_pb2

    try:
        if meta.HasField("connection_type"):
            return primitives_pb2.ConnectionType.Name(meta.connection_type).removeprefix("CONNECTION_TYPE_").lower()
        name = primitives_pb2.ConnType.Name(meta.conn_type).removeprefix("CONN_TYPE_").lower()
    except ValueError:  # a number that this version doesn't know
        return "unknown"
    return name if name in ("inbound", "outbound_full_relay", "block_relay_only", "feeler") else "unknown"


class Recorder:
    """Turns events into rows, driven by the times of the events alone."""

    def __init__(self, timeout, write):
        self.timeout = timeout  # nanoseconds
        self.write = write
        self.open = {}  # (node, start, direction, peer, block) -> (time, row), oldest first
        self.indexes = 0

    def handle(self, event):
        """Takes one event of the subjects netmsg and netconn."""
        at = event_time(event)
        self.expire(at)
        case = event.ebpf_extractor.WhichOneof("ebpf_event")
        if case == "connection" and event.ebpf_extractor.connection.HasField("closed"):
            self.closed(event, event.ebpf_extractor.connection.closed.conn.peer_id)
        elif case == "message":
            message = event.ebpf_extractor.message
            if message.meta.command == "getblocktxn":
                self.request(event, at, message)
            elif message.WhichOneof("msg") == "blocktxn" == message.meta.command:
                self.answer(event, at, message, message.blocktxn.block_hash, "blocktxn", len(message.blocktxn.transactions))
            elif message.WhichOneof("msg") == "block" == message.meta.command:
                self.answer(event, at, message, message.block.header.hash, "block", None)

    def request(self, event, at, message):
        meta, content = message.meta, message.getblocktxn
        direction = "received" if meta.inbound else "sent"
        row = {
            "time": time_text(at),
            "node": event.node_name,
            "direction": direction,
            "peer_id": meta.peer_id,
            "address": meta.addr.encode()[:MAX_TEXT].decode(errors="replace"),
            "connection_type": connection_type(meta),
            "block": content.block_hash[::-1].hex(),
            "indexes": list(content.tx_indexes[:MAX_INDEXES]),
            "requested": len(content.tx_indexes),
            "outcome": "",
            "delay_ns": None,
            "answer_bytes": None,
            "transactions": None,
        }
        if len(content.block_hash) != 32:
            row["block"] = ""
            self.end(row, "malformed")
            return
        key = (event.node_name, event.node_start_time_ns, direction, meta.peer_id, content.block_hash)
        if key in self.open:
            self.finish(key, "repeated")
        self.open[key] = (at, row)
        self.indexes += len(row["indexes"])
        while len(self.open) > MAX_OPEN or self.indexes > MAX_OPEN_INDEXES:
            self.finish(next(iter(self.open)), "dropped")

    def answer(self, event, at, message, block, outcome, transactions):
        """Ends the request that a message in the other direction answers."""
        asked = "sent" if message.meta.inbound else "received"
        key = (event.node_name, event.node_start_time_ns, asked, message.meta.peer_id, block)
        if key in self.open:
            requested, row = self.open[key]
            row["delay_ns"] = at - requested
            row["answer_bytes"] = message.meta.size
            row["transactions"] = transactions
            self.finish(key, outcome)

    def closed(self, event, peer):
        of = (event.node_name, event.node_start_time_ns, peer)
        for key in [k for k in self.open if (k[0], k[1], k[3]) == of]:
            self.finish(key, "closed")

    def expire(self, at):
        while self.open:
            key = next(iter(self.open))
            if at - self.open[key][0] <= self.timeout:
                return
            self.finish(key, "timeout")

    def finish_all(self):
        while self.open:
            self.finish(next(iter(self.open)), "end")

    def finish(self, key, outcome):
        _, row = self.open.pop(key)
        self.indexes -= len(row["indexes"])
        self.end(row, outcome)

    def end(self, row, outcome):
        row["outcome"] = outcome
        self.write(row)


class Output:
    """Appends rows to a file, each at once."""

    def __init__(self, path, form):
        self.file = sys.stdout if path == "-" else open(path, "a", encoding="utf-8", newline="")
        self.csv = csv.writer(self.file, lineterminator="\n") if form == "csv" else None
        if self.csv and (path == "-" or self.file.tell() == 0):
            self.csv.writerow(COLUMNS)
            self.file.flush()

    def write(self, row):
        if self.csv:
            row = dict(row, indexes=" ".join(map(str, row["indexes"])))
            self.csv.writerow([row[column] for column in COLUMNS])
        else:
            self.file.write(json.dumps(row, separators=(",", ":"), ensure_ascii=False) + "\n")
        self.file.flush()


class Signals:
    """Ends the program with KeyboardInterrupt, but not in the middle of an event."""

    def __init__(self):
        self.busy = self.ended = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.arrived)

    def arrived(self, *_):
        self.ended = True
        if not self.busy:
            raise KeyboardInterrupt

    def __enter__(self):
        self.busy = True

    def __exit__(self, *_):
        self.busy = False
        if self.ended:
            raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="nats://127.0.0.1:4222", help="NATS server, with user and password if it wants them")
    parser.add_argument("--prefix", default="", help="prefix of the subjects, the agent's --nats.subject-prefix")
    parser.add_argument("--output", default="-", help="file that rows are appended to (default: -, standard output)")
    parser.add_argument("--format", choices=["json", "csv"], default="json")
    parser.add_argument("--answer-timeout", type=float, default=600, help="seconds that an answer is waited for (default: 600)")
    arguments = parser.parse_args()

    from google.protobuf.message import DecodeError
    from subscribe import subscribe

    from peerobserver.v1 import event_pb2

    signals = Signals()
    recorder = Recorder(round(arguments.answer_timeout * 1e9), Output(arguments.output, arguments.format).write)
    code = 0
    try:
        for _, payload in subscribe(arguments.url, [arguments.prefix + "netmsg", arguments.prefix + "netconn"]):
            with signals:
                event = event_pb2.Event()
                try:
                    event.ParseFromString(payload)
                except DecodeError as error:
                    print(f"not an event: {error}", file=sys.stderr)
                    continue
                recorder.handle(event)
        print("the server has closed the connection", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        signals.busy = True
    recorder.finish_all()
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        # The reader, such as head, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (ConnectionError, OSError) as error:
        sys.exit(f"record_getblocktxn.py: {error}")
