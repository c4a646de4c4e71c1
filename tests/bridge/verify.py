"""Verifies servers as a client, or clients as a server, by Python's ssl.

It reads its task as JSON, and answers with a line of JSON. As servers it runs until its input ends.
"""

import json
import socket
import ssl
import sys
import threading

task = json.loads(sys.stdin.readline())


def context(protocol, known):
    made = ssl.SSLContext(protocol)
    made.verify_mode = ssl.CERT_REQUIRED
    if task["strict"]:
        made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.load_verify_locations(known)
    return made


def accepts(known, port):
    client = context(ssl.PROTOCOL_TLS_CLIENT, known)
    with socket.create_connection(("127.0.0.1", port), task["limit"]) as plain:
        try:
            with client.wrap_socket(plain, server_hostname="127.0.0.1"):
                return True
        except ssl.SSLCertVerificationError:
            return False


def serve(files, known):
    server = context(ssl.PROTOCOL_TLS_SERVER, known)
    server.load_cert_chain(f"{files}/server.crt", f"{files}/server.key")
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept, args=(listener, server), daemon=True).start()
    return listener.getsockname()[1]


def accept(listener, server):
    while True:
        plain, _ = listener.accept()
        plain.settimeout(task["limit"])
        # A client that is refused breaks the connection.
        try:
            with server.wrap_socket(plain, server_side=True) as stream:
                stream.recv(65536)
                stream.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except OSError:
            pass


if "asked" in task:
    print(json.dumps([accepts(*one) for one in task["asked"]]))
else:
    print(json.dumps([serve(*one) for one in task["known"]]), flush=True)
    sys.stdin.read()
