"""Peer: KerasTuner's GridSearch, the article's stack; trial after trial, each on all cores."""

import argparse
import json
import tempfile
import time
from pathlib import Path

import keras
import keras_tuner
import numpy as np
from keras import layers


def load(folder: Path, scale: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """One split: float32 (n, height, width, 1) and labels."""
    images = np.load(folder / "images.npy").transpose(0, 2, 3, 1).astype("float32") / 255
    mean, std = scale
    return (images - mean) / std, np.load(folder / "labels.npy")


class ArticlesNetwork(keras_tuner.HyperModel):
    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        network = keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                layers.Conv2D(32, 3, activation="relu"),
                layers.MaxPooling2D(2),
                layers.Conv2D(64, 3, activation="relu"),
                layers.MaxPooling2D(2),
                layers.Conv2D(64, 3, activation="relu"),
                layers.Flatten(),
                layers.Dense(hp.Choice("hidden_units", [64, 128]), activation="relu"),
                layers.Dense(10),
            ]
        )
        network.compile(
            optimizer=keras.optimizers.Adam(hp.Choice("learning_rate", [0.001, 0.003])),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        return network

    def fit(
        self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: object, **kwargs: object
    ) -> keras.callbacks.History:
        return model.fit(*args, batch_size=hp.Choice("minibatch_size", [32, 128]), **kwargs)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--form", choices=("plain", "fast"), default="plain")
    given = parser.parse_args()
    if given.form == "fast":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    keras.utils.set_random_seed(0)
    raw = np.load(given.prepared / "train" / "images.npy") / 255
    scale = (float(raw.mean()), float(raw.std()))
    images, labels = load(given.prepared / "train", scale)
    validation = load(given.prepared / "validation", scale)
    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.GridSearch(
            ArticlesNetwork(), objective="val_accuracy", directory=folder, project_name="grid"
        )
        began = time.time()
        tuner.search(images, labels, epochs=given.epochs, validation_data=validation, verbose=0)
        ended = time.time()
        trials = tuner.oracle.get_best_trials(100)
    # Trials follow one another: that the first began and the last ended is all that is asked.
    print(json.dumps([{"began": began, "ended": ended, "accuracy": t.score} for t in trials]))


if __name__ == "__main__":
    main()
