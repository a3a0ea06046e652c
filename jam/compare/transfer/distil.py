"""Distillation: a student on one model's vectors learns from labels and from a teacher on another's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


def distillation_loss(logits: Tensor, teacher: Tensor, labels: Tensor, alpha: float, temperature: float) -> Tensor:
    """(1 − α) · CE(labels) + α · T² · KL(teacher_T ‖ student_T), the mean over rows (Hinton et al. 2015, §2.1).

    Softened by T, both distributions have gradients 1 / T² as large; T² makes up for it.

    Args:
        logits: (b, c) of the student.
        teacher: (b, c) of the teacher.
        labels: (b,) classes.
        alpha: 0 … 1.
        temperature: T.
    """
    hard = functional.cross_entropy(logits, labels)
    told, softened = ((each / temperature).log_softmax(dim=1) for each in (teacher, logits))
    soft = functional.kl_div(softened, told, log_target=True, reduction="batchmean")
    return (1 - alpha) * hard + alpha * temperature**2 * soft


@dataclass(frozen=True)
class Schedule:
    """How a student learns: Adam on a net with one hidden layer."""

    hidden: int
    epochs: int
    learning_rate: float
    batch_size: int


@dataclass(frozen=True)
class Task:
    """Vectors, classes and the teacher's logits, by split: train, val, test.

    Attributes:
        x: (n, d) of the student's model.
        y: (n,) classes 0 … c − 1.
        teacher: (n, c) logits.
    """

    x: Mapping[str, np.ndarray]
    y: Mapping[str, np.ndarray]
    teacher: Mapping[str, np.ndarray]


def train_student(task: Task, alpha: float, temperature: float, schedule: Schedule, seed: int) -> nn.Module:
    """A student trained on the train rows.

    Raises:
        ValueError: batches, or rows, of fewer than two, of which a batch norm learns nothing.
    """
    if min(schedule.batch_size, len(task.x["train"])) < 2:
        got = f"{schedule.batch_size} of {len(task.x['train'])} rows"
        raise ValueError(f"batch_size: got {got}, expected two rows at least")
    x, y, teacher = (torch.as_tensor(each["train"]) for each in (task.x, task.y, task.teacher))
    x, teacher, y = x.float(), teacher.float(), y.long()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first = nn.Linear(x.shape[1], schedule.hidden)
        student = nn.Sequential(nn.BatchNorm1d(x.shape[1], affine=False), first, nn.GELU())
        student.append(nn.Linear(schedule.hidden, teacher.shape[1]))
    optimizer = torch.optim.Adam(student.parameters(), lr=schedule.learning_rate)
    rng = np.random.default_rng(seed)
    for _ in range(schedule.epochs):
        for rows in torch.from_numpy(rng.permutation(len(x))).split(schedule.batch_size):
            if len(rows) < 2:  # a batch norm of a single row
                continue
            loss = distillation_loss(student(x[rows]), teacher[rows], y[rows], alpha, temperature)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return student.eval()


@torch.inference_mode()
def predicted(student: nn.Module, x: np.ndarray) -> np.ndarray:
    """Classes (n,) that a student says."""
    found: np.ndarray = student(torch.as_tensor(x).float()).argmax(dim=1).numpy()
    return found


def choose_student(
    task: Task, alphas: Sequence[float], temperatures: Sequence[float], schedule: Schedule, seed: int
) -> tuple[nn.Module, float, float]:
    """The student of the α and T that are best on validation rows; the smallest of equals."""
    tried = [(train_student(task, a, t, schedule, seed), a, t) for a in sorted(alphas) for t in sorted(temperatures)]
    scores = [float(np.mean(predicted(each, task.x["val"]) == task.y["val"])) for each, _, _ in tried]
    return tried[int(np.argmax(scores))]
