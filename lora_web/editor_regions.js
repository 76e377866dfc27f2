// Boxes in the close-up, for families that learn them: one more thing that is said of a picture, saved and undone as captions
// are.
let regionsDrawn = null;

function offerRegions() {
  const boxed = limits.regions;
  for (const name of ["stage-regions", "stage-history", "drop-regions", "save-coco", "save-yolo"]) $(name).hidden = !boxed;
  if (!boxed) {
    $("filter").querySelector('[value="no_regions"]').remove();
    return;
  }
  $("stage").classList.add("with-regions");
  regionsDrawn = drawRegions($("stage-regions"), {
    ...boxed, picture: $("stage-frame"), longest: limits.caption,
    changed: (regions, what) => revise(stage, "regions", regions, what),
  });
  $("stage-undo").addEventListener("click", undo);
  $("stage-redo").addEventListener("click", redo);
}

// The boxes on the small copy of a picture; `frame` is around it.
function outline(frame, regions) {
  if (!limits.regions || same(frame.outlined, regions)) return;
  frame.outlined = regions;
  for (const old of frame.querySelectorAll(".outline")) old.remove();
  for (const { box } of regions) {
    const made = node("span", { className: "outline" });
    made.style.inset = insets(box);
    frame.append(made);
  }
}
