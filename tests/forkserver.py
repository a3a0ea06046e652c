"""A launcher for tests that run many stages: each is forked from one process that has imported everything already.

    python tests/forkserver.py serve SOCKET        waits for stages, until its standard input is closed
    python tests/forkserver.py SOCKET -m MODULE …  runs a stage there, in this folder and environment, on these files

`LAUNCH="python tests/forkserver.py SOCKET" dvc repro` so saves each stage the seconds that importing torch takes.
"""

import json
import os
import runpy
import signal
import socket
import sys
import threading
from pathlib import Path


def serve(path: str) -> None:
    """Fork a child for each request; one that runs a stage answers with its exit status."""
    import sklearn.linear_model  # noqa: F401
    import transformers.models.auto.modeling_auto  # noqa: F401

    import stages.evaluate
    import stages.sweep  # noqa: F401

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        print("ready", flush=True)

        def end() -> None:
            sys.stdin.read()
            os._exit(0)

        threading.Thread(target=end, daemon=True).start()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children that ended leave nothing behind
        while True:
            connection, _ = server.accept()
            message, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
            if os.fork() == 0:
                os._exit(answer(connection, message, files))
            for file in files:
                os.close(file)
            connection.close()


def answer(connection: socket.socket, message: bytes, files: list[int]) -> int:
    """In the child: become the process that asked, and run its module."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request = json.loads(message)
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path.insert(0, request["cwd"])
    status = 0
    try:
        sys.argv = request["args"]
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1 if error.code else 0
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(bytes([status]))
    return status


def ask(path: str, module: str, args: list[str]) -> int:
    """Have a stage run, and give its exit status."""
    request = {"module": module, "args": [module, *args], "cwd": str(Path.cwd()), "env": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        socket.send_fds(connection, [json.dumps(request).encode()], [0, 1, 2])
        told = connection.recv(1)
    return told[0] if told else 1


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(ask(sys.argv[1], sys.argv[3], sys.argv[4:]))
