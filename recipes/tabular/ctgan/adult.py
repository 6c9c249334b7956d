"""CTGAN on UCI Adult (32,561 rows): seven minutes on a CPU."""

from zoo import TrainConfig
from zoo.recipe import Data, Evaluate, Recipe

recipe = Recipe(
    family="tabular/ctgan",
    data=Data(name="adult"),
    train=TrainConfig(epochs=150),
    evaluate=Evaluate(target="income"),
    smoke={"data.rows": 500, "generator.width": 32, "train.epochs": 1, "evaluate.quick": True},
)

if __name__ == "__main__":
    recipe.main()
