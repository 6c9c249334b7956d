"""Masked diffusion on a sample of UCI Adult that rides in the package: a minute on a CPU, no network."""

from zoo.recipe import Data, Evaluate, Recipe

recipe = Recipe(
    family="tabular/diffusion",
    data=Data(name="adult_sample"),
    evaluate=Evaluate(target="income"),
    smoke={"data.rows": 500, "generator.hidden": 32, "generator.inner": 16, "train.epochs": 1, "evaluate.quick": True},
)

if __name__ == "__main__":
    recipe.main()
