"""Hybrid copula on a sample of UCI Adult that rides in the package: seconds, no network."""

from zoo.recipe import Data, Evaluate, Recipe

recipe = Recipe(
    family="tabular/hybrid_copula",
    data=Data(name="adult_sample"),
    evaluate=Evaluate(target="income"),
    smoke={"data.rows": 600, "generator.width": 8, "train.epochs": 1, "evaluate.quick": True},
)

if __name__ == "__main__":
    recipe.main()
