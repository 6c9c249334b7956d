"""Vine copula on UCI Adult (32,561 rows): seconds to fit."""

from zoo.recipe import Data, Evaluate, Recipe

recipe = Recipe(
    family="tabular/vine_copula",
    data=Data(name="adult"),
    evaluate=Evaluate(target="income"),
    smoke={"data.rows": 500, "evaluate.quick": True},
)

if __name__ == "__main__":
    recipe.main()
