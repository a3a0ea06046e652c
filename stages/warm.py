"""Run a command whose stages are forked from one process that has imported torch and its like already.

Importing them takes most of the few seconds that a stage needs to start, and the graph has dozens; so `make repro` runs
``python -m stages.warm dvc repro``. The code of this project is read anew by every stage. What a stage computes is the
same, to the byte. Where LAUNCH names another launcher, or processes cannot be forked, the command runs as it is.

By hand:  python -m stages.warm dvc repro --force
"""

import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

LIBRARIES = (
    "joblib.externals.loky", "matplotlib.pyplot", "pandas", "PIL.Image", "pydantic", "pyarrow.parquet",
    "safetensors.torch", "scipy.optimize", "scipy.stats", "sklearn.linear_model", "threadpoolctl", "torch", "tqdm",
    "transformers.modeling_utils",
    "transformers.models.auto.modeling_auto", "transformers.models.auto.image_processing_auto",
    "transformers.models.auto.tokenization_auto", "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.regnet.modeling_regnet", "transformers.models.bert.modeling_bert", "yaml",
)  # fmt: skip


def around(command: list[str]) -> int:
    """Run the command beside a server of stages, and give its exit status."""
    if sys.platform != "linux" or "LAUNCH" in os.environ:
        return subprocess.run(command, check=False).returncode
    with TemporaryDirectory() as folder:
        path = f"{folder}/socket"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen()  # stages that come while the libraries are imported wait
            child = os.fork()
            if child == 0:
                try:
                    serve(server, os.getppid())
                finally:
                    os._exit(1)
        signal.signal(signal.SIGINT, lambda *_: None)  # the command ends by it, and this process by the command's end
        launch = f"{sys.executable} -S {Path(__file__).resolve()} {path}"  # this file, as one that imports nothing
        try:
            return subprocess.run(command, env={**os.environ, "LAUNCH": launch}, check=False).returncode
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def serve(server: socket.socket, parent: int) -> None:
    """Fork a process for each stage that is asked for, until killed, or the process that began it has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the command
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # stages that ended leave nothing behind
    for name in LIBRARIES:
        with suppress(ImportError):  # a stage that needs it says so
            import_module(name)
    gc.freeze()
    server.settimeout(1)
    while os.getppid() == parent:
        try:
            connection, _ = server.accept()
        except TimeoutError:
            continue
        message, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        if os.fork() == 0:
            status = 1
            try:
                server.close()
                status = become(json.loads(message), files, connection)
            finally:
                os._exit(status)  # whatever happens: the frames above are the server's
        for file in files:
            os.close(file)
        connection.close()


def become(request: dict[str, Any], files: list[int], connection: socket.socket) -> int:
    """In the new process: be the one that asked, run its module, and tell it how that ended."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"], JAM_FORK="1")
    sys.path[0:0] = [request["folder"], *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    ended = threading.Event()
    threading.Thread(target=_until_hung_up, args=(connection, ended), daemon=True).start()
    status: object = 0
    try:
        sys.argv = request["words"]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as error:
        status = error.code
    except BaseException:
        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        print(status, file=sys.stderr)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    number = status if isinstance(status, int) else 0
    ended.set()
    connection.sendall(bytes([number]))
    return number


def _until_hung_up(connection: socket.socket, ended: threading.Event) -> None:
    """End with the process that asked, as a stage of its own would with what it started."""
    connection.recv(1)
    if not ended.is_set():
        os.kill(os.getpid(), signal.SIGTERM)


def ask(path: str, module: str, arguments: list[str]) -> int:
    """Have a stage run, and give its exit status; where the server has died, it is started anew."""
    request = {"folder": str(Path.cwd()), "words": [module, *arguments], "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
        except OSError:
            os.execv(sys.executable, [sys.executable, "-m", module, *arguments])
        socket.send_fds(connection, [json.dumps(request).encode()], [0, 1, 2])
        told = connection.recv(1)
    return told[0] if told else 1


if __name__ == "__main__":
    if __package__:
        sys.exit(around(sys.argv[1:]))
    # LAUNCH -m stages.NAME ARGUMENTS
    sys.exit(ask(sys.argv[1], sys.argv[3], sys.argv[4:]))
