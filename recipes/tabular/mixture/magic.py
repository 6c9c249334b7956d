"""Mixture on the MAGIC gamma telescope (19,020 rows): ten seconds on a CPU."""

from zoo.recipe import Data, Evaluate, Recipe

recipe = Recipe(
    family="tabular/mixture",
    data=Data(name="magic"),
    evaluate=Evaluate(target="class"),
    smoke={"data.rows": 500, "generator.states": 8, "evaluate.quick": True},
)

if __name__ == "__main__":
    recipe.main()
