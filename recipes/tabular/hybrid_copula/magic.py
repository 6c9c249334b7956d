"""Hybrid copula on the MAGIC gamma telescope (19,020 rows): a quarter of a minute on a CPU."""

from zoo.recipe import Data, Evaluate, Recipe

recipe = Recipe(
    family="tabular/hybrid_copula",
    data=Data(name="magic"),
    evaluate=Evaluate(target="class"),
    smoke={"data.rows": 600, "generator.width": 8, "train.epochs": 1, "evaluate.quick": True},
)

if __name__ == "__main__":
    recipe.main()
