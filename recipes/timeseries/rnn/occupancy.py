"""RNN on hours of room sensors, with and without people: minutes on a CPU, no network."""

from zoo.recipe import Data, Recipe

recipe = Recipe(
    family="timeseries/rnn",
    data=Data(name="occupancy"),
    smoke={"data.rows": 60, "train.max_steps": 3, "evaluate.quick": True, "evaluate.rows": 60},
)

if __name__ == "__main__":
    recipe.main()
