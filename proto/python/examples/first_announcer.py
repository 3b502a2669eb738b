#!/usr/bin/env python3
"""Prints, for each block that joins a node's chain, which peer told the node of it
first. It is the example of docs/writing-a-tool.md.
"""

import argparse
import os
import sys

from subscribe import subscribe  # the file beside this one: NATS over a plain socket

# Works from a checkout as well as with the package installed.
sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from google.protobuf.message import DecodeError

from peerobserver.v1 import event_pb2

# Bounds what is remembered: peers can announce what they like.
MAX_BLOCKS = 1000


def event_time(event):
    """The best time that an event has, in UNIX nanoseconds."""
    return event.kernel_time_ns or event.receive_time_ns or event.timestamp * 1_000_000


def announced(message):
    """The blocks that a message tells of. What a message hasn't is empty."""
    hashes = [item.block for item in message.inv.items]
    hashes += [header.hash for header in message.headers.headers]
    hashes += [message.compactblock.header.hash, message.block.header.hash]
    return [block for block in hashes if block]


def handle(event, first):
    """Takes one event; first has the announcements so far, by node and block."""
    ebpf = event.ebpf_extractor
    if ebpf.HasField("message") and ebpf.message.meta.inbound:
        for block in announced(ebpf.message):
            if (event.node_name, block) in first:
                continue
            if len(first) == MAX_BLOCKS:
                first.clear()
            first[event.node_name, block] = (ebpf.message.meta.peer_id, ebpf.message.meta.command, event_time(event))
    elif ebpf.validation.HasField("block_connected"):
        connected = ebpf.validation.block_connected
        source = "nobody"  # mined here, or announced before we came
        if (event.node_name, connected.hash) in first:
            peer, command, at = first[event.node_name, connected.hash]
            source = f"peer {peer} by {command}, {(event_time(event) - at) // 1000} µs before"
        # Explorers and RPC show hashes in reverse.
        print(event.node_name, connected.height, connected.hash[::-1].hex(), "from", source, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="nats://127.0.0.1:4222", help="NATS server")
    parser.add_argument("--prefix", default="", help="prefix of the subjects, the agent's --nats.subject-prefix")
    arguments = parser.parse_args()
    first = {}
    subjects = [arguments.prefix + subject for subject in ("netmsg", "validation")]
    for _, payload in subscribe(arguments.url, subjects):
        event = event_pb2.Event()
        try:
            event.ParseFromString(payload)
        except DecodeError:
            continue  # others may use the same server
        handle(event, first)
    sys.exit("the server has closed the connection")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
