"""The pictures to learn from."""

WORDS = {
    "pictures": ("1. Pictures", "1. 图片"),
    "example": ("Use the example pictures", "使用示例图片"),
    "clear": ("Start over", "重新开始"),
    "drop": (
        "Your pictures (PNG, JPEG, WebP), captions (.txt beside them) or a zip file",
        "你的图片（PNG、JPEG、WebP）、说明文字（同名 .txt）或 zip 文件",
    ),
    "limits": (
        "Up to {files} files of {megabytes} MB each. They stay on this computer, in the workspace folder.",
        "最多 {files} 个文件，每个不超过 {megabytes} MB。文件只保存在这台电脑的工作文件夹里。",
    ),
    "limits_hosted": (
        "Up to {files} files of {megabytes} MB each. Only your browser can reach them on this server.",
        "最多 {files} 个文件，每个不超过 {megabytes} MB。在这台服务器上只有你的浏览器能访问它们。",
    ),
    "gallery": ("Pictures and captions", "图片与说明文字"),
    "no_caption": ("no caption", "没有说明文字"),
    "more_pictures": ("and {count} more", "另有 {count} 张"),
    "no_picture_found": (
        "No picture was found; add PNG, JPEG or WebP files.",
        "没有找到图片；请添加 PNG、JPEG 或 WebP 文件。",
    ),
    "no_pictures": (
        "No pictures yet. Add your own, or use the example: 18 small drawings in one style.",
        "还没有图片。添加你自己的，或使用示例：18 张同一风格的小画。",
    ),
    "count": ("{count} pictures ready.", "{count} 张图片已就绪。"),
    "one": (
        "1 picture ready. That is enough to try; 10 to 20 teach more.",
        "1 张图片已就绪。足够试一试；10 到 20 张效果更好。",
    ),
    "rejected": ("Left out:", "未采用："),
    "notes": ("Good to know:", "请留意："),
    "example_missing": (
        "The example pictures are not part of this copy of the program; add pictures of your own.",
        "这份程序不带示例图片；请添加你自己的图片。",
    ),
    "unreadable": (
        "These pictures could not be stored ({reason}); free some disk space and add them again.",
        "这些图片无法保存（{reason}）；请腾出磁盘空间后重新添加。",
    ),
}
