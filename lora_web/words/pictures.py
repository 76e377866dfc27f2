"""The pictures to learn from, and their editor (`edit.*`: said by its page and its script)."""

WORDS = {
    "pictures": ("1. Pictures", "1. 图片"),
    "limits": (
        "Up to {pictures} pictures, {megabytes} MB a file. They stay on this computer, in the workspace folder.",
        "最多 {pictures} 张图片，每个文件不超过 {megabytes} MB。文件只保存在这台电脑的工作文件夹里。",
    ),
    "limits_hosted": (
        "Up to {pictures} pictures, {megabytes} MB a file. Only your browser can reach them on this server.",
        "最多 {pictures} 张图片，每个文件不超过 {megabytes} MB。在这台服务器上只有你的浏览器能访问它们。",
    ),
    "no_picture_found": (
        "No picture was found; add PNG, JPEG or WebP files.",
        "没有找到图片；请添加 PNG、JPEG 或 WebP 文件。",
    ),
    "example_missing": (
        "The example is not part of this copy of the program; add files of your own.",
        "这份程序不带示例；请添加你自己的文件。",
    ),
    "unreadable": (
        "These files could not be stored ({reason}); free some disk space and add them again.",
        "这些文件无法保存（{reason}）；请腾出磁盘空间后重新添加。",
    ),
    "example_made_way": (
        "The example pictures made way for yours; Undo brings them back.",
        "示例图片已让位给你的图片；点“撤销”可以找回。",
    ),
    "caption_taken": (
        "Pictures that were here already and took a caption from these files: {count}.",
        "从这些文件得到说明文字的已有图片：{count} 张。",
    ),
    "caption_kept": (
        "Pictures that kept the caption they had: {count}. To replace captions, tick the box above and add the files "
        "again.",
        "保留了原有说明文字的图片：{count} 张。要替换，请勾选上面的选项后重新添加这些文件。",
    ),
    "regions_taken": (
        "Pictures that were here already and took boxes from these files: {count}.",
        "从这些文件得到方框的已有图片：{count} 张。",
    ),
    "regions_kept": (
        "Pictures that kept the boxes they had: {count}. To replace them too, tick “Captions that I add replace those "
        "already here” and add the files again.",
        "保留了原有方框的图片：{count} 张。要一并替换，请勾选“新添加的说明文字替换已有的”后重新添加这些文件。",
    ),
    "picture_gone": (
        "This picture is no longer there; add it again.",
        "这张图片已经不在了；请重新添加。",
    ),
    "caption_not_text": (
        "The caption of {name} is {value}, must be text.",
        "{name} 的说明文字是 {value}，必须是文本。",
    ),
    "caption_too_long": (
        "The caption of {name} has {count} characters, must have at most {most}; shorten it.",
        "{name} 的说明文字有 {count} 个字符，最多 {most} 个；请缩短。",
    ),
    "not_a_list": ("{name} is {value}, must be a list.", "{name} 是 {value}，必须是列表。"),
    "page_stale": (
        "This page does not know whose data this is; reload it.",
        "页面不知道这些数据属于谁；请重新加载页面。",
    ),
    "unsaved": (
        "Some changes could not be saved yet, so nothing was started; see step 1, and press Train again.",
        "有些修改还没能保存，所以没有开始训练；请查看第 1 步，然后再按“开始训练”。",
    ),
    "describing_already": (
        "Pictures are being described already; wait until that is done.",
        "已经有图片正在生成说明文字；请等它完成。",
    ),
    "nothing_to_describe": (
        "All of these pictures have captions already; tick the box to describe them anew.",
        "这些图片都已有说明文字；如需重新生成，请勾选相应选项。",
    ),
    "describing_ended": (
        "Describing ended before it was done; what was written stays. Try again, or choose a smaller model.",
        "生成提前结束；已写好的说明文字会保留。请重试，或换一个更小的模型。",
    ),
    "model_missing": ("Name a captioning model.", "请填写图像描述模型的名称。"),
    "model_refused": (
        "This server does not offer that captioning model; choose one from the list.",
        "这台服务器不提供这个图像描述模型；请从列表中选择。",
    ),
    "edit.describe": ("Let a model write captions", "用模型生成说明文字"),
    "edit.describe_help": (
        "A captioning model (BLIP or GIT, from a folder or the Hub, such as Salesforce/blip-image-captioning-base; one "
        "from the Hub is downloaded first) describes the selected pictures, or all that are shown. Only empty captions "
        "are filled, and Undo takes them back.",
        "图像描述模型（BLIP 或 GIT，来自文件夹或 Hub，例如 Salesforce/blip-image-captioning-base；Hub 上的会先下载）"
        "会描述所选的图片，未选择时描述全部显示的图片。只填写空的说明文字，可以撤销。",
    ),
    "edit.describe_model": ("Model", "模型"),
    "edit.describe_all": ("Also write over captions that are there", "也覆盖已有的说明文字"),
    "edit.describe_go": ("Describe", "开始生成"),
    "edit.describe_stop": ("Stop", "停止"),
    "edit.describe_loading": ("Loading the model…", "正在加载模型…"),
    "edit.describing": ("Described: {done} of {count}", "已生成：{done} / {count}"),
    "edit.described": ("Done: {done} of {count}", "完成：{done} / {count}"),
    "edit.unreachable": ("The server could not be reached; try again.", "无法连接服务器；请重试。"),
    "example.openmoji": (
        "No pictures yet. Add your own, or use the example: 18 small drawings in one style.",
        "还没有图片。添加你自己的，或使用示例：18 张同一风格的小画。",
    ),
    "example.drawings": (
        "No pictures yet. Add your own, or use the example: 138 small drawings of 46 things with their names, and "
        "questions about some.",
        "还没有图片。添加你自己的，或使用示例：46 种东西的 138 张小画，都有名称，其中一些附有问题。",
    ),
    "example.scenes": (
        "No pictures yet. Add your own and draw boxes on them, or use the example: 18 small scenes with a box around "
        "each thing.",
        "还没有图片。添加你自己的并在上面画方框，或使用示例：18 个小场景，每样东西都有方框。",
    ),
    "edit.count": ("{count} pictures ready.", "{count} 张图片已就绪。"),
    "edit.one": (
        "1 picture ready. That is enough to try; 10 to 20 teach more.",
        "1 张图片已就绪。足够试一试；10 到 20 张效果更好。",
    ),
    "edit.example": ("Use the example pictures", "使用示例图片"),
    "edit.add_files": ("Add files…", "添加文件…"),
    "edit.add_folder": ("Add a folder…", "添加文件夹…"),
    "edit.clear": ("Start over", "重新开始"),
    "edit.drop": (
        "Or drop or paste them here: pictures (PNG, JPEG, WebP), folders, zip files, captions (fox.txt for fox.png, "
        "metadata.jsonl).",
        "也可以拖放或粘贴到这里：图片（PNG、JPEG、WebP）、文件夹、zip 文件、说明文字（fox.png 对应 fox.txt，或 "
        "metadata.jsonl）。",
    ),
    "edit.drop_regions": (
        "Boxes may come along: COCO, LayoutSAM, LabelMe, YOLO with the names of its classes, or a JSON for each "
        "picture.",
        "方框可以一起添加：COCO、LayoutSAM、LabelMe、带类别名称的 YOLO，或每张图片一个 JSON。",
    ),
    "edit.replace_captions": (
        "Captions that I add replace those already here",
        "新添加的说明文字替换已有的",
    ),
    "edit.importing": ("Adding pictures", "正在添加图片"),
    "edit.uploading": ("Uploading: {done} of {count}", "正在上传：{done} / {count}"),
    "edit.reading": ("Reading {count} files…", "正在读取 {count} 个文件…"),
    "edit.reading_example": ("Reading the example pictures…", "正在读取示例图片…"),
    "edit.too_heavy": (
        "{name} is larger than {megabytes} MB; make it smaller, or split the zip file.",
        "{name} 超过 {megabytes} MB；请缩小，或拆分 zip 文件。",
    ),
    "edit.too_many_files": (
        "{count} files were added at once, at most {files} are allowed; put them in a zip file or add fewer.",
        "一次添加了 {count} 个文件，最多允许 {files} 个；请打包成 zip 文件，或少添加一些。",
    ),
    "edit.import_failed": (
        "The server could not be reached, so these files were not added; add them again. Nothing else was lost.",
        "无法连接服务器，这些文件没有添加；请重新添加。其他内容没有丢失。",
    ),
    "edit.rejected": ("Left out:", "未采用："),
    "edit.notes": ("Good to know:", "请留意："),
    "edit.more_lines": ("and {count} more", "另有 {count} 条"),
    "edit.show": ("Show", "显示"),
    "edit.show_all": ("all", "全部"),
    "edit.show_ok": ("ready", "已就绪"),
    "edit.show_no_caption": ("without caption", "没有说明文字"),
    "edit.show_no_regions": ("without boxes", "没有方框"),
    "edit.show_too_small": ("too small", "太小"),
    "edit.show_duplicate": ("duplicates", "重复"),
    "edit.no_caption": ("no caption", "无说明"),
    "edit.no_regions": ("no boxes", "无方框"),
    "edit.too_small": ("too small", "太小"),
    "edit.duplicate": ("duplicate", "重复"),
    "edit.why_no_caption": (
        "It has no caption of its own: describe what is in the picture.",
        "没有自己的说明文字：请描述图里有什么。",
    ),
    "edit.why_no_regions": (
        "It has no boxes: draw one around each thing that matters, and say what it is.",
        "没有方框：请给每个重要的东西画框并说明。",
    ),
    "edit.why_too_small": (
        "It has fewer pixels than it is trained at, so it is enlarged and blurred: use a larger copy or a lower "
        "resolution.",
        "像素少于训练尺寸，会被放大而变模糊：请换更大的图，或降低分辨率。",
    ),
    "edit.why_duplicate": (
        "It looks the same as another picture: one of them is enough.",
        "和另一张图片看起来一样：留一张就够了。",
    ),
    "edit.show_crops": ("Show what is trained on", "显示训练时用到的部分"),
    "edit.undo": ("Undo", "撤销"),
    "edit.redo": ("Redo", "重做"),
    "edit.state_saved": ("All changes saved", "所有更改已保存"),
    "edit.state_saving": ("Saving…", "正在保存…"),
    "edit.state_failed": ("Not saved yet, trying again", "尚未保存，正在重试"),
    "edit.state_refused": ("Some captions are not saved", "有些说明文字没有保存"),
    "edit.selected": ("{count} selected", "已选 {count} 张"),
    "edit.none_selected": ("None selected", "未选择"),
    "edit.select": ("Select {name}", "选择 {name}"),
    "edit.select_all": ("Select all shown", "全选"),
    "edit.select_none": ("Select none", "取消选择"),
    "edit.remove_selected": ("Remove selected", "删除所选"),
    "edit.remove_one": ("Remove this picture", "删除这张图片"),
    "edit.bulk": ("Change many captions", "批量修改说明文字"),
    "edit.bulk_kind": ("What to do", "操作"),
    "edit.bulk_trigger": ("Put a trigger word in front where it is missing", "缺少触发词时加在最前"),
    "edit.bulk_prefix": ("Put text in front", "在前面加文字"),
    "edit.bulk_suffix": ("Put text at the end", "在末尾加文字"),
    "edit.bulk_replace": ("Find and replace", "查找并替换"),
    "edit.bulk_text": ("Text", "文字"),
    "edit.bulk_by": ("Replace with", "替换为"),
    "edit.apply": ("Apply to {count} pictures", "应用到 {count} 张图片"),
    "edit.changed": ("Captions changed: {count}", "已修改的说明文字：{count}"),
    "edit.none_shown": ("No picture is of this kind.", "没有这一类图片。"),
    "edit.gallery": ("Pictures and captions", "图片与说明文字"),
    "edit.look": ("Look at {name}", "查看 {name}"),
    "edit.caption": ("Caption", "说明文字"),
    "edit.caption_of": ("Caption of {name}", "{name} 的说明文字"),
    "edit.trained_as": ("Trained as: {caption}", "训练时用：{caption}"),
    "edit.pixels": ("{width} × {height} pixels.", "{width} × {height} 像素。"),
    "edit.bucket": (
        "Trained at {width} × {height}; what lies outside the frame is cut off.",
        "按 {width} × {height} 训练；框外的部分会被裁掉。",
    ),
    "edit.before": ("Previous", "上一张"),
    "edit.next": ("Next", "下一张"),
    "edit.close": ("Close", "关闭"),
    "edit.save_pictures": ("Download pictures and captions", "下载图片和说明文字"),
    "edit.save_captions": ("Download captions only", "只下载说明文字"),
    "edit.save_coco": ("Download with boxes as COCO", "下载（方框为 COCO 格式）"),
    "edit.save_yolo": ("Download with boxes as YOLO", "下载（方框为 YOLO 格式）"),
    "edit.keys": (
        "Keys: arrows go from picture to picture, Enter looks closer, Delete removes; in a caption, Enter goes on to "
        "the next.",
        "按键：方向键切换图片，回车放大，Delete 删除；在说明文字里按回车跳到下一条。",
    ),
}
