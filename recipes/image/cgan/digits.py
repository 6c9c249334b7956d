"""Conditional GAN on scikit-learn's 8x8 digits: two minutes on a CPU, no network."""

from zoo.recipe import Data, Recipe

recipe = Recipe(
    family="image/cgan",
    data=Data(name="digits"),
    smoke={"data.rows": 200, "train.max_steps": 5, "evaluate.quick": True, "evaluate.rows": 200},
)

if __name__ == "__main__":
    recipe.main()
