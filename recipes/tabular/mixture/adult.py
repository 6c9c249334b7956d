"""Mixture on UCI Adult (32,561 rows): a quarter of a minute on a CPU."""

from zoo.recipe import Data, Evaluate, Recipe

recipe = Recipe(
    family="tabular/mixture",
    data=Data(name="adult"),
    evaluate=Evaluate(target="income"),
    smoke={"data.rows": 500, "generator.states": 8, "evaluate.quick": True},
)

if __name__ == "__main__":
    recipe.main()
