"""Reads events from NATS with nothing but a socket and the tables of field numbers.

usage: subscribe.py HOST:PORT

Prints a line of JSON for each event: its subject, and what the tables below know of it.
Only the standard library is used, so that this says how hard the wire format is to read
for somebody who has none of our code.
"""

import json
import socket
import struct
import sys


def fields(data):
    """Yields (number, value) of the fields of a protobuf message: int or bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while at < len(data):
        key = varint()
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            yield number, varint()
        elif wire_type == 1:
            yield number, struct.unpack_from("<Q", data, at)[0]
            at += 8
        elif wire_type == 2:
            size = varint()
            if at + size > len(data):
                raise ValueError("a field is longer than its message")
            yield number, data[at : at + size]
            at += size
        elif wire_type == 5:
            yield number, struct.unpack_from("<I", data, at)[0]
            at += 4
        else:
            raise ValueError(f"wire type {wire_type}")


def text(value):
    return value.decode()


def display(value):
    """A hash as explorers and RPC print it."""
    return value[::-1].hex()


def number(value):
    return value


# Field number: name, and what it is; a table for a message.
TXID = {1: ("txid", display)}
COIN = {1: ("txid", display), 2: ("output_index", number)}
CONNECTION = {1: ("connection", {1: ("peer_id", number), 2: ("address", text)})}
EVENT = {
    10: ("timestamp_ms", number),
    1001: ("node_name", text),
    1003: ("sequence", number),
    1: ("ebpf", {
        1: ("message", {1: ("meta", {1: ("peer_id", number), 4: ("command", text), 5: ("inbound", number), 6: ("size", number)})}),
        2: ("connection", {1: ("closed", CONNECTION), 3: ("inbound", CONNECTION), 4: ("outbound", CONNECTION)}),
        4: ("mempool", {1: ("added", {1: ("txid", display), 2: ("vsize", number), 3: ("fee", number)}), 3: ("removed", {1: ("txid", display), 2: ("reason", text)})}),
        5: ("validation", {1: ("block_connected", {1: ("hash", display), 2: ("height", number), 3: ("transactions", number)})}),
        1001: ("utxo_cache", {1: ("flush", {3: ("coins", number)}), 2: ("add", COIN), 3: ("spent", COIN), 4: ("uncache", COIN)}),
    }),
    2: ("rpc", {3: ("uptime", number), 9: ("blockchain_info", {1: ("chain", text), 2: ("blocks", number), 4: ("best_block_hash", text)})}),
    3: ("p2p", {1: ("ping_duration", {1: ("duration_ns", number)})}),
    4: ("log", {4: ("unknown", {1: ("line", text)}), 5: ("block_connected", {1: ("block_hash", text), 2: ("block_height", number)})}),
    1000: ("observer", {1: ("status", {4: ("node", {2: ("chain", text)})})}),
}


def decode(data, table):
    decoded = {}
    for field_number, value in fields(data):
        name, meaning = table.get(field_number, (None, None))
        if isinstance(meaning, dict):
            decoded[name] = decode(value, meaning)
        elif name:
            decoded[name] = meaning(value)
    return decoded


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    with socket.create_connection((host, int(port))) as connection:
        stream = connection.makefile("rb")
        stream.readline()  # INFO
        connection.sendall(b'CONNECT {"verbose":false}\r\nSUB > 1\r\nPING\r\n')
        for line in iter(stream.readline, b""):
            words = line.split()
            if words[0] == b"PING":
                connection.sendall(b"PONG\r\n")
            elif words[0] == b"PONG":
                print(json.dumps({"subscribed": True}), flush=True)
            elif words[0] == b"-ERR":
                sys.exit(line.decode())
            elif words[0] == b"MSG":
                payload = stream.read(int(words[-1]) + 2)[:-2]
                print(json.dumps({"subject": words[1].decode(), "event": decode(payload, EVENT)}), flush=True)


main()
