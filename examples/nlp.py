"""A ``transformers.Trainer`` short of real texts: real only, beside real and synthetic mixed.

    python examples/nlp.py --real 40

A small BERT learns to tell spam from ham; the generator writes as many messages of either kind as are wanted, which
also evens out the classes.
"""

import argparse
import tempfile

import datasets
import numpy as np
from sklearn.metrics import balanced_accuracy_score
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast, Trainer, TrainingArguments
from transformers.trainer_utils import set_seed

import zoo


def fit(data: datasets.Dataset, test: datasets.Dataset, tokenizer: PreTrainedTokenizerFast, steps: int) -> float:
    """Balanced accuracy on the test messages."""
    set_seed(0)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=192,
            max_position_embeddings=64,
            num_labels=2,
        )
    )

    def encode(batch: dict) -> dict:
        return tokenizer(batch["text"], truncation=True, max_length=64, padding="max_length")

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=32,
            per_device_eval_batch_size=256,
            learning_rate=1e-3,
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
            save_strategy="no",
            use_cpu=True,
        )
        trainer = Trainer(model=model, args=arguments, train_dataset=data.map(encode, batched=True))
        trainer.train()
        logits = trainer.predict(test.map(encode, batched=True)).predictions
    return float(balanced_accuracy_score(test["label"], np.argmax(logits, axis=1)))


def main(real: int = 40, synthetic: int = 1000, steps: int = 200) -> dict[str, float]:
    """Balanced accuracy of real only and of real and synthetic mixed."""
    generator = zoo.load("text/gpt/sms_spam")
    features = generator.form.features(generator.schema)

    def dataset(table) -> datasets.Dataset:  # type: ignore[no-untyped-def]
        return datasets.Dataset(generator.form.to_arrow(table, generator.schema)).cast(features)

    train = zoo.load_dataset("sms_spam").sample(frac=1, random_state=0).reset_index(drop=True)
    few, test = (
        dataset(train[generator.schema.names].head(real)),
        dataset(zoo.load_dataset("sms_spam", "test")[generator.schema.names]),
    )
    made = [generator.to_dataset(synthetic // 2, conditions={"label": c}, seed=0) for c in ("ham", "spam")]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=generator.tokenizer, pad_token="<|end|>")
    alone = fit(few, test, tokenizer, steps)
    mixed = fit(datasets.concatenate_datasets([*[few] * 5, *made]), test, tokenizer, steps)  # real ones weigh more
    print(f"{real} real messages: balanced accuracy {alone:.3f}; with {synthetic} synthetic ones: {mixed:.3f}")
    return {"real": alone, "mixed": mixed}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=int, default=40, help="real messages")
    parser.add_argument("--synthetic", type=int, default=1000)
    options = parser.parse_args()
    main(options.real, options.synthetic)
