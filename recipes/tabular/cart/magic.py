"""Single trees in sequence on the MAGIC telescope (13,314 rows of ten numbers): a second to fit."""

from zoo.recipe import Data, Evaluate, Recipe

recipe = Recipe(
    family="tabular/cart",
    data=Data(name="magic"),
    evaluate=Evaluate(target="class"),
    smoke={"data.rows": 500, "evaluate.quick": True},
)

if __name__ == "__main__":
    recipe.main()
