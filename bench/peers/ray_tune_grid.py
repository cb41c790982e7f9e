"""Peer: Ray Tune's grid search; two trials at a time in processes of their own, a core each."""

import tempfile
from dataclasses import asdict

import ray
from plain import AXES, Images, Point, Trained, arguments, load_images, report, train
from ray import tune


def trainable(config: dict[str, float], images: Images, epochs: int, form: str) -> None:
    """Ray sets torch's threads by the cores that a trial asks for: one."""
    trained = train(
        Point(**config),
        images,
        epochs,
        on_epoch=lambda accuracy: tune.report({"validation_accuracy": accuracy}),
        form=form,
    )
    tune.report({"validation_accuracy": trained.accuracy, "trained": asdict(trained)})


if __name__ == "__main__":
    given = arguments()
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    with tempfile.TemporaryDirectory() as storage:
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(
                    trainable,
                    images=load_images(given.prepared),
                    epochs=given.epochs,
                    form=given.form,
                ),
                {"cpu": 1},
            ),
            param_space={name: tune.grid_search(values) for name, values in AXES.items()},
            tune_config=tune.TuneConfig(metric="validation_accuracy", mode="max"),
            run_config=tune.RunConfig(storage_path=storage, verbose=0),
        )
        results = tuner.fit()
    report([Trained(**result.metrics["trained"]) for result in results])
    ray.shutdown()
