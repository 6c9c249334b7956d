"""Related tables on the Berka bank (eight tables, 4,500 accounts): seconds to fit, no weights shipped."""

from zoo.recipe import Data, Recipe

recipe = Recipe(
    family="tabular/relational",
    data=Data(name="berka"),
    smoke={"data.rows": 500, "evaluate.quick": True},
)

if __name__ == "__main__":
    recipe.main()
