"""The library: what may come in, what is said of what may not, what goes out opens in the stock libraries."""

from __future__ import annotations

import json
import math
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lora_web import cards
from lora_web.folders import ADAPTER
from lora_web.library import Library
from lora_web.previews import export_for_browser
from lora_web.shelf import cards_for, layer_tables, particulars
from lora_web.site import Site
from lora_web.tabs.library import LibraryTab
from lora_web.workspace import Limits, Visitor, Workspace, new_token
from pipelines.errors import ProblemsError
from pipelines.export import export
from tests.adapter_parts import tiny_pipeline
from tests.library_parts import make_foreign, make_run

pytest.importorskip("gradio")
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def run(tiny_base: Callable[[str], Path], pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("made") / "run", tiny_base("sd1"), pictures)


@pytest.fixture(scope="module")
def kohya(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_foreign(tmp_path_factory.mktemp("kohya"), run)


@dataclass
class Corner:
    """A library and one visitor of it."""

    library: Library
    visitor: Visitor
    base: str

    def take_in(self, path: Path, base: str | None = None) -> str:
        return self.library.take_in(self.visitor, path, self.base if base is None else base)

    def refusal(self, path: Path, base: str | None = None) -> tuple[str, ...]:
        """The sentences about a file; nothing of it may be kept."""
        with pytest.raises(ProblemsError) as caught:
            self.take_in(path, base)
        assert not list(self.visitor.adapters_folder().iterdir())
        assert all(len(problem) > 20 for problem in caught.value.problems)
        return caught.value.problems

    def trained(self, run: Path) -> str:
        """A copy of a finished run in the visitor's corner."""
        name = new_token()
        shutil.copytree(run, self.visitor.runs_folder() / name)
        return name


@pytest.fixture
def corner(tmp_path: Path, tiny_base: Callable[[str], Path]) -> Corner:
    site = Site(Workspace(tmp_path / "workspace"))
    return Corner(Library(site), site.workspace.visitor(None), str(tiny_base("sd1")))


def changed(path: Path, target: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """A copy of an adapter file with other tensors."""
    save_file(change(load_file(path)), target)
    return target


class TestImport:
    def test_a_kohya_file_becomes_a_card(self, corner: Corner, kohya: Path) -> None:
        name = corner.take_in(kohya)
        (card,) = corner.library.cards(corner.visitor)
        assert (card.id, card.entry.title, card.entry.base) == (name, "Foxes", corner.base)
        assert (card.facts["ranks"], card.facts["trigger_words"]) == ([2], ["fox", "ink"])
        assert (card.facts["made_with"], card.source) == ("sd-scripts (kohya)", "foxes.safetensors")
        assert card.entry.path.read_bytes() == kohya.read_bytes()

    def test_a_file_that_names_a_known_base_needs_no_choice(self, corner: Corner, run: Path, tmp_path: Path) -> None:
        ours = tmp_path / "ours.safetensors"
        export(run, "diffusers", ours)
        (said,) = corner.refusal(ours, base="")
        assert Path(corner.base).name in said and "choose the base" in said
        corner.trained(run)
        name = corner.take_in(ours, base="")
        assert corner.library.entry(corner.visitor, name).base == corner.base

    def test_a_peft_folder_in_a_zip_file(self, corner: Corner, run: Path, tmp_path: Path) -> None:
        export(run, "peft", tmp_path / "peft")
        upload = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "peft"))
        entry = corner.library.entry(corner.visitor, corner.take_in(upload))
        ours, theirs = (load_file(path) for path in (run / ADAPTER, entry.path))
        assert ours.keys() == theirs.keys()
        assert not any(path.is_dir() for path in entry.home.iterdir())

    def test_the_picture_of_a_file_becomes_its_cover(self, corner: Corner, run: Path, tmp_path: Path) -> None:
        name = corner.trained(run)
        entry = corner.library.entry(corner.visitor, name)
        cards.set_cover(entry.path, next(run.glob("previews/*.png")).read_bytes())
        path = export_for_browser(entry, "kohya", tmp_path)
        brought = corner.library.card(corner.visitor, corner.take_in(path))
        assert brought and brought.picture.startswith("data:image/jpeg")


class TestRefusals:
    def test_a_pickle(self, corner: Corner, tmp_path: Path) -> None:
        for name in ("a.pt", "a.safetensors"):
            torch.save({"a": torch.ones(2)}, tmp_path / name)
            assert "is a pickle file" in corner.refusal(tmp_path / name)[0]

    def test_nan(self, corner: Corner, kohya: Path, tmp_path: Path) -> None:
        def spoil(tensors: Tensors) -> Tensors:
            next(value for key, value in tensors.items() if "lora_up" in key)[0, 0] = math.nan
            return tensors

        (said,) = corner.refusal(changed(kohya, tmp_path / "bad.safetensors", spoil))
        assert said.startswith("bad.safetensors: ") and "NaN" in said

    def test_a_missing_partner(self, corner: Corner, kohya: Path, tmp_path: Path) -> None:
        def lose(tensors: Tensors) -> Tensors:
            del tensors[next(key for key in tensors if "lora_up" in key)]
            return tensors

        (said,) = corner.refusal(changed(kohya, tmp_path / "half.safetensors", lose))
        assert "has a down matrix but no up matrix" in said

    def test_another_base_with_every_mismatch(
        self, corner: Corner, kohya: Path, tiny_base: Callable[[str], Path]
    ) -> None:
        """Told from shapes: the weights of the base are not there to be loaded."""
        bare = Path(shutil.copytree(tiny_base("sdxl"), corner.visitor.folder.parent.parent / "bare"))
        for weights in bare.rglob("*.safetensors"):
            weights.unlink()
        said = corner.refusal(kohya, base=str(bare))
        assert "cross-attention width 16" in said[0]
        assert len([line for line in said if "to_k" in line or "to_v" in line]) == 8

    def test_no_base_and_a_base_that_is_none(self, corner: Corner, kohya: Path) -> None:
        assert "does not say which base" in corner.refusal(kohya, base="")[0]
        assert "must be a bundled name" in corner.refusal(kohya, base="no such thing")[0]

    def test_another_variant_and_no_adapter_at_all(self, corner: Corner, tmp_path: Path) -> None:
        save_file({"lora_unet_mid_to_q.hada_w1_a": torch.ones(2)}, tmp_path / "loha.safetensors")
        assert "LoHa" in corner.refusal(tmp_path / "loha.safetensors")[0]
        save_file({"weight": torch.ones(2)}, tmp_path / "model.safetensors")
        assert "not a LoRA tensor" in corner.refusal(tmp_path / "model.safetensors")[0]
        (tmp_path / "cut.safetensors").write_bytes(b"\x10")
        assert "not a whole safetensors file" in corner.refusal(tmp_path / "cut.safetensors")[0]

    def test_zip_files(self, corner: Corner, tmp_path: Path) -> None:
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("../../evil.txt", "x")
        assert "holds no PEFT folder" in corner.refusal(path)[0]
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("adapter_config.json", "{}")
            archive.writestr("adapter_model.safetensors", bytes(64 * 2**20))
        assert "unpacks to far more" in corner.refusal(path)[0]
        path.write_bytes(b"PK\x03\x04 not really")
        assert "not a whole zip file" in corner.refusal(path)[0]

    def test_uploads_count_against_the_quota(self, corner: Corner, kohya: Path) -> None:
        small = Workspace(corner.visitor.folder / "small", Limits(visitor_bytes=1000)).visitor(None)
        with pytest.raises(ProblemsError, match="fit"):
            corner.library.take_in(small, kohya, corner.base)
        assert not small.folder.exists()

    def test_a_server_for_strangers_takes_only_its_own_bases(self, corner: Corner, kohya: Path, tmp_path: Path) -> None:
        strict = Library(Site(Workspace(tmp_path / "hosted"), hosted=True))
        with pytest.raises(ProblemsError, match="offers only"):
            strict.take_in(corner.visitor, kohya, corner.base)


class TestCards:
    def test_a_finished_run_is_there_by_itself(self, corner: Corner, run: Path) -> None:
        name = corner.trained(run)
        card = corner.library.card(corner.visitor, name)
        assert card and (card.entry.title, card.source) == ("inkstyle", "")
        assert card.picture.startswith("data:image/png")
        shown = cards_for([card], name)["cards"][0]
        assert shown["lines"][0] == Path(corner.base).name
        assert "rank 2" in shown["lines"][1] and shown["words"] == ["inkstyle"]
        json.dumps(shown)

    def test_a_run_in_progress_is_not(self, corner: Corner, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        name = corner.trained(run)
        status = corner.library.site.supervisor.status(corner.visitor.run(name))
        monkeypatch.setattr(corner.library.site.supervisor, "status", lambda run: replace(status, state="running"))
        assert corner.library.cards(corner.visitor) == []

    def test_rename_lasts_and_goes_out_with_the_file(self, corner: Corner, run: Path, tmp_path: Path) -> None:
        name = corner.trained(run)
        corner.library.rename(corner.visitor, name, "  Ink –\n狐  ")
        again = Library(corner.library.site)
        entry = again.entry(corner.visitor, name)
        assert entry.title == "Ink – 狐"
        assert corner.library.card(corner.visitor, corner.take_in(export_for_browser(entry, "diffusers", tmp_path)))
        for bad in ("", "  ", None, 7, "x" * 101):
            with pytest.raises(ProblemsError):
                corner.library.rename(corner.visitor, name, bad)

    def test_delete(self, corner: Corner, run: Path, kohya: Path) -> None:
        trained, brought = corner.trained(run), corner.take_in(kohya)
        for name in (trained, brought):
            corner.library.delete(corner.visitor, name)
        assert corner.library.cards(corner.visitor) == []
        assert (corner.visitor.runs_folder() / trained / "run.json").exists()
        assert not list(corner.visitor.adapters_folder().iterdir())

    def test_a_cover_is_a_picture(self, corner: Corner, run: Path) -> None:
        entry = corner.library.entry(corner.visitor, corner.trained(run))
        for bad in ("", None, "file:///etc/passwd", "data:image/png;base64,???"):
            with pytest.raises(ProblemsError, match="no picture"):
                cards.picture_of_uri(bad)
        with pytest.raises(ProblemsError):
            cards.set_cover(entry.path, b"not a picture")
        assert not cards.cover(entry.path)

    def test_what_is_in_it(self, corner: Corner, kohya: Path) -> None:
        card = corner.library.card(corner.visitor, corner.take_in(kohya))
        assert card
        told = particulars(card)
        for words in ("sd-scripts (kohya)", "fox, ink", "ss_output_name", "foxes.safetensors"):
            assert words in told
        rows = corner.library.layers(corner.visitor, card.id)
        delta = {row["layer"]: row["norm"] for row in rows}
        tensors = load_file(kohya)
        stem = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
        meant = torch.linalg.norm(tensors[f"{stem}.lora_up.weight"] @ tensors[f"{stem}.lora_down.weight"])
        name = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
        assert delta[name] == pytest.approx(float(meant), rel=1e-5)
        assert "All 32 layers" in layer_tables(rows)

    def test_text_of_strangers_is_escaped(self, corner: Corner, kohya: Path, tmp_path: Path) -> None:
        evil = "<img src=x onerror=alert(1)>"
        save_file(load_file(kohya), tmp_path / "evil.safetensors", {evil: evil, "modelspec.title": evil})
        card = corner.library.card(corner.visitor, corner.take_in(tmp_path / "evil.safetensors"))
        assert card and card.entry.title == evil
        assert "<img" not in particulars(card)


class TestFiles:
    @pytest.mark.parametrize("form", ["diffusers", "kohya"])
    def test_stock_diffusers_opens_it(
        self, corner: Corner, kohya: Path, form: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        path = export_for_browser(corner.library.entry(corner.visitor, corner.take_in(kohya)), form, tmp_path)
        pipeline = tiny_pipeline("sd1")
        capfd.readouterr()
        pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name="a")
        assert "unexpected" not in capfd.readouterr().err
        assert pipeline.get_list_adapters() == {"unet": ["a"]}

    def test_stock_peft_opens_the_folder(self, corner: Corner, kohya: Path, tmp_path: Path) -> None:
        from peft import PeftModel

        path = export_for_browser(corner.library.entry(corner.visitor, corner.take_in(kohya)), "peft", tmp_path)
        shutil.unpack_archive(path, tmp_path / "peft")
        model = PeftModel.from_pretrained(tiny_pipeline("sd1").unet, tmp_path / "peft")
        assert sum("lora_A" in name for name, _ in model.named_parameters()) == 32
        assert corner.base not in (tmp_path / "peft" / "adapter_config.json").read_text()

    def test_what_a1111_looks_for(self, corner: Corner, run: Path, tmp_path: Path) -> None:
        name = corner.trained(run)
        entry = corner.library.entry(corner.visitor, name)
        cards.set_cover(entry.path, next(run.glob("previews/*.png")).read_bytes())
        corner.library.rename(corner.visitor, name, "Ink foxes")
        path = export_for_browser(corner.library.entry(corner.visitor, name), "a1111", tmp_path)
        with zipfile.ZipFile(path) as archive:
            assert sorted(archive.namelist()) == ["Ink-foxes.json", "Ink-foxes.png", "Ink-foxes.safetensors"]
            assert archive.read("Ink-foxes.png").startswith(b"\x89PNG")
            assert json.loads(archive.read("Ink-foxes.json"))["activation text"] == "inkstyle"
        assert corner.base not in path.read_bytes().decode("latin-1")

    def test_a_form_that_cannot_hold_it_is_refused(
        self, corner: Corner, tmp_path: Path, tiny_base: Callable[[str], Path]
    ) -> None:
        from pipelines.adapters.file import write_adapter
        from tests.adapter_parts import components, random_layers, weight_shapes

        layers = random_layers(weight_shapes(components(tiny_pipeline("sd1"))))
        write_adapter(tmp_path / "both.safetensors", layers, form="diffusers", metadata={})
        entry = corner.library.entry(corner.visitor, corner.take_in(tmp_path / "both.safetensors"))
        with pytest.raises(ProblemsError, match="a PEFT folder holds one model"):
            export_for_browser(entry, "peft", tmp_path / "served")
        assert not [path for path in (tmp_path / "served").rglob("*") if path.is_file()]


def test_another_visitors_adapters_are_not_there(corner: Corner, run: Path, kohya: Path) -> None:
    names = [corner.trained(run), corner.take_in(kohya)]
    stranger = corner.library.site.workspace.visitor(None)
    tab = LibraryTab.__new__(LibraryTab)
    tab.site, tab.library = corner.library.site, corner.library
    for name in [*names, "..", "../..", None, 7, new_token()]:
        state: dict[str, Any] = {"visitor": stranger.token, "adapter": name}
        assert "adapter" not in corner.library.site.who(state)[1]
        with pytest.raises(ProblemsError, match="Choose an adapter"):
            tab.source(state)
        for ask in (
            lambda name=name: corner.library.entry(stranger, name),
            lambda name=name: corner.library.rename(stranger, name, "mine"),
            lambda name=name: corner.library.delete(stranger, name),
            lambda name=name: corner.library.layers(stranger, name),
        ):
            with pytest.raises(ProblemsError, match="no longer there"):
                ask()
    assert corner.library.cards(stranger) == []
    assert len(corner.library.cards(corner.visitor)) == 2
