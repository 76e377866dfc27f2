"""Boxes drawn on a picture (said by their script)."""

WORDS = {
    "region.surface": ("Picture with boxes", "带方框的图片"),
    "region.list": ("Boxes", "方框"),
    "region.help": (
        "Drag on the picture to draw a box; drag a box to move it, its corners and sides to resize it; hold Shift to "
        "draw over another box. Keys: Tab goes from box to box, arrows move it, Shift and arrows resize it, Enter goes "
        "to its caption, Delete removes it.",
        "在图片上拖动即可画框；拖动方框可移动，拖动边角可调整大小；按住 Shift 可在其他方框上画。按键：Tab 切换方框，"
        "方向键移动，Shift 加方向键调整大小，回车填写说明文字，Delete 删除。",
    ),
    "region.add": ("Add a box", "添加方框"),
    "region.none": ("No boxes yet.", "还没有方框。"),
    "region.box": (
        "Box {number}: {caption}. Left {left} %, top {top} %, right {right} %, bottom {bottom} %",
        "方框 {number}：{caption}。左 {left}%，上 {top}%，右 {right}%，下 {bottom}%",
    ),
    "region.no_caption": ("no caption", "无说明"),
    "region.place": (
        "left {left} %, top {top} %, right {right} %, bottom {bottom} %",
        "左 {left}%，上 {top}%，右 {right}%，下 {bottom}%",
    ),
    "region.select": ("Select box {number}", "选择方框 {number}"),
    "region.caption_of": ("Caption of box {number}", "方框 {number} 的说明文字"),
    "region.caption_hint": ("what is in this box", "框里是什么"),
    "region.delete": ("Delete box {number}", "删除方框 {number}"),
    "region.deleted": ("Box {number} was deleted.", "方框 {number} 已删除。"),
    "region.sides_of": ("Sides of box {number}", "方框 {number} 的四边"),
    "region.left": ("Left", "左"),
    "region.top": ("Top", "上"),
    "region.right": ("Right", "右"),
    "region.bottom": ("Bottom", "下"),
    "region.side_wrong": (
        "Left must be less than right and top less than bottom, each from 0 to 100.",
        "左必须小于右，上必须小于下，都在 0 到 100 之间。",
    ),
    "region.full": (
        "At most {most} boxes fit a picture, as many as a model reads; delete one to draw another.",
        "每张图片最多 {most} 个方框（模型只读取这么多）；删除一个后才能再画。",
    ),
    "region.too_many": (
        "{count} boxes: all are kept, but a model reads the {most} largest.",
        "共 {count} 个方框：都会保留，但模型只读取最大的 {most} 个。",
    ),
    "region.alike": (
        "Boxes {first} and {second} lie almost wholly over each other; a model can hardly tell them apart.",
        "方框 {first} 和 {second} 几乎完全重叠；模型很难区分它们。",
    ),
}
