"""CTGAN on the MAGIC gamma telescope (19,020 rows): two minutes on a CPU."""

from zoo import TrainConfig
from zoo.recipe import Data, Evaluate, Recipe

recipe = Recipe(
    family="tabular/ctgan",
    data=Data(name="magic"),
    train=TrainConfig(epochs=100),
    evaluate=Evaluate(target="class"),
    smoke={"data.rows": 500, "generator.width": 32, "train.epochs": 1, "evaluate.quick": True},
)

if __name__ == "__main__":
    recipe.main()
