"""Masked diffusion on MAGIC gamma telescope (13,314 events of 10 numbers): two minutes on a CPU."""

from zoo.recipe import Data, Evaluate, Recipe

recipe = Recipe(
    family="tabular/diffusion",
    data=Data(name="magic"),
    evaluate=Evaluate(target="class"),
    smoke={"data.rows": 500, "generator.hidden": 32, "generator.inner": 16, "train.epochs": 1, "evaluate.quick": True},
)

if __name__ == "__main__":
    recipe.main()
