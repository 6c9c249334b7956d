"""Conditional GAN on Fashion-MNIST: minutes on a GPU, an evening on a CPU."""

from zoo.recipe import Data, Evaluate, Recipe

recipe = Recipe(
    family="image/cgan",
    data=Data(name="fashion_mnist"),
    evaluate=Evaluate(rows=10_000),
    smoke={"data.rows": 200, "train.max_steps": 2, "evaluate.quick": True, "evaluate.rows": 200},
)

if __name__ == "__main__":
    recipe.main()
