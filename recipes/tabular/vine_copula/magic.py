"""Vine copula on the MAGIC gamma telescope (19,020 rows): seconds to fit."""

from zoo.recipe import Data, Evaluate, Recipe

recipe = Recipe(
    family="tabular/vine_copula",
    data=Data(name="magic"),
    evaluate=Evaluate(target="class"),
    smoke={"data.rows": 600, "evaluate.quick": True},
)

if __name__ == "__main__":
    recipe.main()
