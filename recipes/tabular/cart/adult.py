"""Single trees in sequence on UCI Adult (32,561 rows): a second to fit."""

from zoo.recipe import Data, Evaluate, Recipe

recipe = Recipe(
    family="tabular/cart",
    data=Data(name="adult"),
    evaluate=Evaluate(target="income"),
    smoke={"data.rows": 500, "evaluate.quick": True},
)

if __name__ == "__main__":
    recipe.main()
