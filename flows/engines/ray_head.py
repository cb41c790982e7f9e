"""`python -m flows.engines.ray_head CORES GPUS FOLDER`: a local Ray cluster."""

import logging
import signal
import sys

from flows.engines.cluster_head import say_ready
from flows.runtime.servers import LOOPBACK


def main() -> None:
    """Start a node with its files in the folder, and wait to be killed."""
    import ray  # noqa: PLC0415 - the extra may be missing

    cores, gpus, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    context = ray.init(
        num_cpus=cores,
        num_gpus=gpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=80 * 2**20,  # Ray's minimum: only JSON is sent
        _temp_dir=folder,
        _node_ip_address=LOOPBACK,
    )
    say_ready(context.address_info["gcs_address"])
    signal.pause()


if __name__ == "__main__":
    main()
