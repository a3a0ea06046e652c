"""Where tensors live: CUDA, then Apple's MPS, then the CPU."""

import os

import torch

from jam.errors import InputError


def pick_device(name: str | None = None) -> torch.device:
    """The named device (``cuda``, ``cuda:1``, ``mps``, ``cpu``), or the fastest one present when ``name`` is None.

    Raises:
        InputError: the name is unknown, or this machine has no such device.
    """
    if name is None:
        # A launcher of several processes gives each one a GPU of its host.
        name = (
            f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # of "meta", which holds nothing, there is nothing to read
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device: got {name!r}, expected cuda, mps or cpu, present on this machine") from error
    return device
