"""CTGAN on a sample of UCI Adult that rides in the package: a minute on a CPU, no network."""

from zoo import TrainConfig
from zoo.recipe import Data, Evaluate, Recipe

recipe = Recipe(
    family="tabular/ctgan",
    data=Data(name="adult_sample"),
    train=TrainConfig(epochs=200),
    evaluate=Evaluate(target="income"),
    smoke={"data.rows": 500, "generator.width": 32, "train.epochs": 1, "evaluate.quick": True},
)

if __name__ == "__main__":
    recipe.main()
