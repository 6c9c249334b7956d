"""Masked diffusion on UCI Adult (32,561 rows): two minutes on a CPU."""

from zoo.recipe import Data, Evaluate, Recipe

recipe = Recipe(
    family="tabular/diffusion",
    data=Data(name="adult"),
    evaluate=Evaluate(target="income"),
    smoke={"data.rows": 500, "generator.hidden": 32, "generator.inner": 16, "train.epochs": 1, "evaluate.quick": True},
)

if __name__ == "__main__":
    recipe.main()
