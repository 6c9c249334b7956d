"""Hybrid copula on UCI Adult (32,561 rows): half a minute on a CPU."""

from zoo.recipe import Data, Evaluate, Recipe

recipe = Recipe(
    family="tabular/hybrid_copula",
    data=Data(name="adult"),
    evaluate=Evaluate(target="income"),
    smoke={"data.rows": 600, "generator.width": 8, "train.epochs": 1, "evaluate.quick": True},
)

if __name__ == "__main__":
    recipe.main()
