"""One trial over several machines: the same command on each, told apart by variables.

They are torchrun's and Lightning's: NNODES, NODE_RANK, MASTER_ADDR, MASTER_PORT; the last three are
read by Lightning itself. See docs/engines.md.
"""

from collections.abc import Mapping

import pytorch_lightning as pl
import torch

from models.config import TrialConfig
from models.errors import ConfigError
from models.training.trial_faults import TrialFault

NODES = "NNODES"
_ADDRESS = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")


def nodes_of(config: TrialConfig, environment: Mapping[str, str]) -> int:
    """Return how many machines train a trial together: 1 for a trial on one device.

    environment: as `os.environ`. Raises ConfigError where it says half of what is needed, or the
    trial cannot be shared so.
    """
    nodes = _count(NODES, environment.get(NODES, "1"))
    if nodes == 1 or config.devices == 1:
        return 1
    missing = [name for name in _ADDRESS if name not in environment]
    if missing:
        raise ConfigError(f"{NODES} {nodes}: needs {', '.join(missing)} as well, on every node")
    rank = _count("NODE_RANK", environment["NODE_RANK"])
    if rank >= nodes:
        raise ConfigError(f"NODE_RANK {rank}: must be below {NODES} {nodes}; the first node is 0")
    if config.is_asynchronous:
        raise ConfigError(
            f"{NODES} {nodes}: trial.strategy async shares the memory of one machine; choose ddp"
        )
    if config.devices % nodes:
        raise ConfigError(
            f"{NODES} {nodes}: trial.devices {config.devices}, which is of all nodes together, "
            "must be a multiple of it"
        )
    return nodes


def check_nodes_agree(trainer: pl.Trainer, epoch: int) -> None:
    """Raise TrialFault on every node where they would go on from different epochs."""
    if trainer.num_nodes == 1:
        return
    stands = torch.tensor([epoch, epoch**2], dtype=torch.float64)
    stands = stands.to(trainer.strategy.root_device)
    total, squares = trainer.strategy.reduce(stands, reduce_op="sum").tolist()
    if trainer.world_size * squares != total**2:  # equal only where all are the same
        raise TrialFault(
            "error",
            f"this node has {epoch} epochs of the trial, another has not; copy the trial's folder "
            "in mlruns/trials/ from the node that has most to the others",
        )


def _count(name: str, value: str) -> int:
    if not value.isdecimal():
        raise ConfigError(f"{name} {value!r}: is not a number of nodes")
    return int(value)
