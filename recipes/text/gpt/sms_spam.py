"""A small GPT on text messages, spam and ham: minutes on a CPU, no network."""

from zoo.recipe import Data, Evaluate, Recipe

recipe = Recipe(
    family="text/gpt",
    data=Data(name="sms_spam"),
    evaluate=Evaluate(rows=2000),
    smoke={
        "data.rows": 100,
        "generator.layers": 1,
        "generator.width": 32,
        "generator.context": 48,
        "train.max_steps": 3,
        "evaluate.quick": True,
        "evaluate.rows": 60,
    },
)

if __name__ == "__main__":
    recipe.main()
