#!/usr/bin/env python3
"""Prints the events that peer-observer publishes over NATS, one JSON object a line.

Needs the protobuf package and nothing else: NATS is spoken over a plain socket, to
show how little that takes. With --decode-raw not even the generated types are
needed: protoc prints field numbers, which docs/events.md explains.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
from urllib.parse import urlsplit

# The largest payload that is accepted from the server, in bytes: that of the largest
# event, with some room.
MAX_PAYLOAD = 16 << 20


def subscribe(url, subjects):
    """Yields (subject, payload) for every message, until the server hangs up."""
    server = urlsplit(url)
    with socket.create_connection((server.hostname, server.port or 4222)) as connection:
        stream = connection.makefile("rb")
        info = stream.readline(1 << 16)
        if not info.startswith(b"INFO "):
            raise ConnectionError(f"{url} is no NATS server: it says {info[:40]!r}")
        options = {"verbose": False, "pedantic": False, "lang": "python", "version": "0", "name": "subscribe.py"}
        if server.username:
            options["user"], options["pass"] = server.username, server.password or ""
        connection.sendall(b"CONNECT %s\r\n" % json.dumps(options).encode())
        for number, subject in enumerate(subjects, 1):
            connection.sendall(b"SUB %s %d\r\n" % (subject.encode(), number))
        connection.sendall(b"PING\r\n")
        while True:
            line = stream.readline(1 << 16)
            if not line:
                return
            words = line.split()
            if not words:
                continue
            if words[0] == b"PING":
                connection.sendall(b"PONG\r\n")
            elif words[0] == b"PONG":
                # The server has taken the subscriptions: nothing is missed from here on.
                print("subscribed", file=sys.stderr, flush=True)
            elif words[0] == b"-ERR":
                raise ConnectionError(line.decode(errors="replace").strip())
            elif words[0] == b"MSG":  # MSG subject id [reply] bytes
                size = int(words[-1])
                if size > MAX_PAYLOAD:
                    raise ConnectionError(f"a message of {size} bytes is no event")
                payload = stream.read(size + 2)
                if len(payload) < size + 2:
                    return
                yield words[1].decode(), payload[:-2]


def as_json(subject, payload):
    """One line of JSON, with the field names of the .proto files."""
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError

    from peerobserver.v1 import event_pb2

    event = event_pb2.Event()
    try:
        event.ParseFromString(payload)
    except DecodeError as error:
        # Other programs may use the same server.
        return json.dumps({"subject": subject, "error": str(error)})
    return json.dumps({"subject": subject, "event": json_format.MessageToDict(event, preserving_proto_field_name=True)})


def as_raw(subject, payload):
    """What protoc makes of the payload without any schema."""
    done = subprocess.run(["protoc", "--decode_raw"], input=payload, capture_output=True, check=False)
    return f"{subject}\n{(done.stdout or done.stderr).decode()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="nats://127.0.0.1:4222", help="NATS server, with user and password if it wants them")
    parser.add_argument(
        "--subject",
        nargs="+",
        default=[">"],
        help="subjects to subscribe to, listed in docs/events.md; * stands for one part, > for all that follow (default: >, everything)",
    )
    parser.add_argument("--prefix", default="", help="prefix of the subjects, the agent's --nats.subject-prefix")
    parser.add_argument("--count", type=int, default=0, help="stop after this many events")
    parser.add_argument("--decode-raw", action="store_true", help="print field numbers by protoc --decode_raw")
    arguments = parser.parse_args()
    if not arguments.decode_raw:
        try:
            import google.protobuf  # noqa: F401
        except ImportError:
            sys.exit("subscribe.py: this Python has no protobuf: install python3-protobuf (Debian) or protobuf (pip), or give --decode-raw")
    show = as_raw if arguments.decode_raw else as_json
    seen = 0
    for subject, payload in subscribe(arguments.url, [arguments.prefix + subject for subject in arguments.subject]):
        print(show(subject, payload), flush=True)
        seen += 1
        if seen == arguments.count:
            return 0
    print("the server has closed the connection", file=sys.stderr)
    return 1


if __name__ == "__main__":
    # Works from a checkout as well as with the package installed.
    sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(0)
    except BrokenPipeError:
        # The reader, such as head, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (ConnectionError, OSError) as error:
        sys.exit(f"subscribe.py: {error}")
