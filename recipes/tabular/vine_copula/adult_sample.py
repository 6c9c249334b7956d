"""Vine copula on a sample of UCI Adult that rides in the package: seconds, no network."""

from zoo.recipe import Data, Evaluate, Recipe

recipe = Recipe(
    family="tabular/vine_copula",
    data=Data(name="adult_sample"),
    evaluate=Evaluate(target="income"),
    smoke={"data.rows": 500, "evaluate.quick": True},
)

if __name__ == "__main__":
    recipe.main()
