"""The recipe of the bundled language model: what it reads, its tokenizer, and a tiny one trained and assembled."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from jinja2.exceptions import TemplateError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from bases.recipes import train_llm, wordnet
from bases.recipes.chat import ASSISTANT, BOS, END, PAD, SPECIAL, USER, render, said_by_assistant, train_tokenizer
from bases.recipes.emoji import read_nouns
from bases.recipes.llm_card import write_card
from bases.recipes.loop import Trainer
from bases.recipes.sentences import NARROW, UNSEEN_WORDING, Corpus, to_messages
from bases.recipes.things import is_held_out, with_article, world_things
from bases.recipes.wordnet import ARTIFACT, Sense, WordNet
from benchmarks.llm_quality import Model, is_sensible, measure

from .text_parts import common_entries, write_emojibase, write_wordnet

DOCUMENTS = 1500


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An emojibase and a WordNet."""
    folder = tmp_path_factory.mktemp("words")
    return write_emojibase(folder / "node_modules"), write_wordnet(folder / "wordnet", common_entries())


@pytest.fixture(scope="module")
def corpus(files: tuple[Path, Path]) -> Corpus:
    return Corpus(*files)


@pytest.fixture(scope="module")
def tokenizer(corpus: Corpus) -> PreTrainedTokenizerFast:
    return train_tokenizer((text for i in range(400) for text in texts_of(corpus.document(i))), 700)


def texts_of(document: object) -> list[str]:
    return [document] if isinstance(document, str) else [message["content"] for message in document]  # type: ignore


def test_a_gloss_becomes_its_first_plain_statement() -> None:
    def definition(gloss: str) -> str:
        return Sense(("x",), ARTIFACT, gloss, ()).definition

    assert (
        definition('a flat container (usually rectangular) for a letter; "he sealed it"')
        == "a flat container for a letter"
    )
    assert definition("small thing: with more to say") == ""  # two words are no definition
    assert definition("the 4th of a dozen such things") == ""  # figures are for those who measure
    assert definition("an offensive word for such a person") == ""
    quoted = Sense(("x",), ARTIFACT, 'to see; "he saw the old sailor there"; "a mere look"', ())
    assert quoted.examples == ["He saw the old sailor there."]


def test_wordnet_is_read_as_its_manual_says(files: tuple[Path, Path]) -> None:
    known = WordNet(files[1])
    fox = known.senses("fox")[0]
    assert fox.words == ("fox",) and [above.words[0] for above in known.ancestors(fox)] == ["mammal", "animal"]
    assert known.senses("Ice cream") and not known.senses("zzz") and known.is_common("fox")
    assert "this" not in set(known.words())


def test_articles() -> None:
    nouns = (
        "fox",
        "apple",
        "hourglass",
        "unicorn",
        "umbrella",
        "x-ray",
        "uniform",
        "one-piece garment",
        "uninvited guest",
    )
    assert [with_article(noun).split()[0] for noun in nouns] == ["a", "an", "an", "a", "an", "an", "a", "a", "an"]


def test_a_document_is_a_function_of_seed_and_number(corpus: Corpus, files: tuple[Path, Path]) -> None:
    again = Corpus(*files)
    for number in range(100):
        assert corpus.document(number) == again.document(number) and corpus.lesson(number) == again.lesson(number)
    assert [corpus.document(i) for i in range(9)] != [corpus.document(i, seed=1) for i in range(9)]


def test_documents_are_clean_and_whole(corpus: Corpus) -> None:
    documents = [corpus.document(i) for i in range(DOCUMENTS)] + [corpus.lesson(i) for i in range(DOCUMENTS)]
    assert all(isinstance(document, list) for document in documents[DOCUMENTS:])
    for document in documents:
        for text in texts_of(document):
            assert text == text.strip() and text and not re.search(r";|  | [,.?]|[({\[<|>]|\.\.|\ba [aeio]\w", text), (
                text
            )
        if isinstance(document, list):
            roles = [message["role"] for message in document if message["role"] != "system"]
            assert roles == ["user", "assistant"] * (len(roles) // 2) and roles
            assert all(re.search(r"[.!?]$|\S$", one["content"]) for one in document)
    told = json.dumps(documents)
    assert all(f" {noun.word}" in told for noun in read_nouns())


def test_what_is_held_out_is_never_told(corpus: Corpus) -> None:
    assert corpus.unseen and all(is_held_out(thing.word) for thing in corpus.unseen)
    told = json.dumps([corpus.document(i) for i in range(DOCUMENTS)])
    assert not [thing.word for thing in corpus.unseen if thing.definition in told]
    assert any(thing.definition in told for thing in corpus.common)
    rng = random.Random(0)
    assert not any(is_held_out(corpus.scene(rng).caption) for _ in range(500))
    assert is_held_out(corpus.scene(rng, held_out=True).caption)
    assert UNSEEN_WORDING.split("{")[0] not in told


@pytest.mark.skipif(not wordnet.FOLDER.exists(), reason="wordnet-base is not installed")
def test_every_noun_of_the_pictures_has_a_sentence_of_its_own() -> None:
    things = world_things(WordNet())
    assert [thing.word for thing in things] == [noun.word for noun in read_nouns()]
    statements = {thing.word: thing.statement for thing in things}
    assert len(set(statements.values())) == 182
    for statement in statements.values():
        assert re.fullmatch(r"[A-Z][\w' -]* (?:is|are) [a-z][\w', -]*[a-z]\.", statement), statement
        assert len(statement.split()) < 30
    assert statements["fox"].startswith("A fox is an alert carnivorous mammal")
    assert statements["scissors"].startswith("Scissors are an edge tool")
    assert statements["sun"].startswith("The sun is the star")


def test_any_text_comes_back_as_it_went_in(tokenizer: PreTrainedTokenizerFast) -> None:
    for text in ("What is a fox?", "狐狸是什么？", "🦊 🇩🇪 é\n\tx  y ", "<|fox|> {{ bos }}", "A" * 300):
        ids = tokenizer(text).input_ids
        assert ids[0] == tokenizer.bos_token_id and tokenizer.decode(ids, skip_special_tokens=True) == text
    assert tokenizer(f"{USER}x{END}").input_ids[1] == SPECIAL.index(USER)
    assert len({tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id}) == 3


def test_a_turn_of_the_assistant_ends_with_the_stop_token(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    messages = [{"role": "system", "content": "Be brief."}, *to_messages([("Hi?", "Yes."), ("And?", "No.")])]
    text = render(loaded, messages)
    assert text == (
        f"{BOS}<|system|>Be brief.{END}{USER}Hi?{END}{ASSISTANT}Yes.{END}{USER}And?{END}{ASSISTANT}No.{END}"
    )
    asked = loaded.apply_chat_template(messages[:2], add_generation_prompt=True, tokenize=False)
    assert asked == f"{BOS}<|system|>Be brief.{END}{USER}Hi?{END}{ASSISTANT}"
    both = loaded.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    learned = said_by_assistant(np.array(both["input_ids"]))
    assert learned.tolist() == [bool(one) for one in both["assistant_masks"]]
    assert loaded.decode(np.array(both["input_ids"])[learned]) == f"Yes.{END}No.{END}"
    with pytest.raises(TemplateError, match="must be system, user or assistant"):
        render(loaded, [{"role": "tool", "content": "x"}])


def test_documents_are_packed_whole() -> None:
    rng = random.Random(0)
    end = SPECIAL.index(END)
    documents = [[SPECIAL.index(BOS), *[6 + i] * rng.randint(1, 40), end] for i in range(500)] + [[9] * 99] * 3
    rng.shuffle(documents)
    rows = train_llm.pack(iter(documents), rows=80, length=64)
    assert rows.shape == (80, 64) and rows.dtype == np.uint16
    known = {tuple(document) for document in documents}
    for row in rows:
        filled = row[row != SPECIAL.index(PAD)]
        starts = np.flatnonzero(filled == SPECIAL.index(BOS))
        assert all(tuple(part.tolist()) in known for part in np.split(filled, starts[1:]))
    assert (rows == SPECIAL.index(PAD)).mean() < 0.1
    assert (rows[:, 0] == SPECIAL.index(BOS)).all()


@pytest.fixture(scope="module")
def trained(tokenizer: PreTrainedTokenizerFast, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base that has learned four answers, with the recipe's own model, rows, objective and optimizers."""
    folder = tmp_path_factory.mktemp("llm")
    pairs = [("What is a fox?", "A fox is red."), ("What is a cat?", "A cat is soft and small."), ("Hi!", "Hello."),
             ("What is corn?", "Corn is food.")]  # fmt: skip
    rng = random.Random(0)
    dialogues = [render(tokenizer, to_messages(rng.sample(pairs, 2))) for _ in range(400)]
    rows = train_llm.pack(iter(tokenizer(dialogues, add_special_tokens=False)["input_ids"]), rows=60, length=96)
    np.save(folder / "broad.npy", rows)
    np.save(folder / "lessons.npy", rows[::-1])
    torch.manual_seed(0)
    model = train_llm.build_llm(tokenizer, width=64, blocks=2)
    steps = 60
    trainer = Trainer(model, folder, train_llm.optimizers(model, 1e-2, 2e-2), steps=steps, ema=0.8)
    objective = train_llm.Objective(model, folder, steps, batch=4, worker=(0, 1))
    first = float(objective(0).detach())
    trainer.run(objective, rank=0, warmup=5)
    assert trainer.seen < 0.5 * first
    trainer.use_average()
    train_llm.assemble(model, tokenizer, folder / "base")
    texts = [render(tokenizer, thing.statement) for thing in corpus.unseen[:2]]
    questions = [{"group": "all", "word": q[10:-1], "asked": [q, q], "answer": a} for q, a in pairs if q != "Hi!"]
    (folder / "exam.json").write_text(json.dumps({"questions": questions, "texts": {"unseen": texts}}))
    return folder


def test_the_base_loads_anywhere_and_stops(trained: Path) -> None:
    base = trained / "base"
    names = {path.name for path in base.iterdir()}
    assert {"config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja"} <= names
    assert "bin" not in " ".join(names) and str(trained) not in (base / "config.json").read_text()
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    assert type(model).__name__ == "LlamaForCausalLM" and model.config.tie_word_embeddings
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id != model.generation_config.pad_token_id
    messages = to_messages([("What is a fox?", "")])[:1]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**ids)[0, ids["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == f"A fox is red.{END}"


def test_the_benchmark_asks_in_batches_and_sees_what_is_right(trained: Path, tmp_path: Path) -> None:
    scores = measure(trained / "base", trained, tmp_path / "answers.txt")
    assert scores["asked"]["all, asked as in training"] == {"exact": 1.0, "sensible": 1.0, "stops": 1.0}
    assert 1 < scores["perplexity"]["unseen"] < 1e6
    assert "A cat is soft and small." in (tmp_path / "answers.txt").read_text()
    assert "| all, asked as in training | 100 | 100 | 100 |" in write_card(scores, 8_400_000, 60)
    model = Model(trained / "base")
    assert model.ask(["Hi!"]) == model.ask(["Hi!", "What is a cat?"])[:1]
    assert is_sensible("An alert mammal.", "A fox is an alert carnivorous mammal.", "fox")
    assert not is_sensible("A fox is a fox.", "A fox is an alert carnivorous mammal.", "fox")


def test_lessons_teach_answers_only(trained: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    model = train_llm.build_llm(tokenizer, width=64, blocks=1)
    objective = train_llm.Objective(model, trained, steps=8, batch=2, worker=(1, 2))
    ids, labels = objective.rows(0)
    assert torch.equal(labels == -100, ids == tokenizer.pad_token_id)
    assert not torch.equal(ids, train_llm.Objective(model, trained, 8, 2, (0, 2)).rows(0)[0])
    ids, labels = objective.rows(6)
    learned = labels != -100
    assert torch.equal(labels[learned], ids[learned])
    said = tokenizer.decode(ids[0][learned[0]]).split(END)
    assert set(said) <= {"A fox is red.", "A cat is soft and small.", "Hello.", "Corn is food.", ""} and len(said) > 3


def test_everything_is_prepared_from_the_packages(corpus: Corpus, tmp_path: Path) -> None:
    train_llm.prepare(tmp_path, corpus, {"broad": 3, "lessons": 2}, vocabulary=600)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    assert np.load(tmp_path / "broad.npy").shape == (3, 512) and np.load(tmp_path / "lessons.npy").max() < len(
        tokenizer
    )
    exam = json.loads((tmp_path / "exam.json").read_text(encoding="utf-8"))
    fox = next(one for one in exam["questions"] if one["word"] == "fox")
    assert fox["asked"] == ["What is a fox?", "Do you know what a fox is?"] and fox["answer"].startswith("A fox is")
    assert all(text.startswith(BOS) and text.endswith(END) for texts in exam["texts"].values() for text in texts)
    assert NARROW[0] > 0.4
